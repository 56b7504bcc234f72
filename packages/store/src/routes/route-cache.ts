import type { Clock, ReadRoute } from '@mooncake-ts/core'

/** A route of one's own: one object for each key, because there may be a million. */
interface Entry extends ReadRoute {
  readonly expiresMs: number
}

/**
 * Where keys were last seen, for a while: bounded, least recently used first out. A wrong route costs one
 * failed read, never wrong bytes.
 */
export class RouteCache {
  readonly #entries = new Map<string, Entry>()
  readonly #clock: Clock
  readonly #keysMax: number
  readonly #ttlMs: number

  constructor(clock: Clock, limits: { readonly keysMax: number; readonly ttlMs: number }) {
    this.#clock = clock
    // One V8 Map holds 2^24 entries at most.
    this.#keysMax = Math.min(limits.keysMax, 1 << 23)
    this.#ttlMs = limits.ttlMs
  }

  get size(): number {
    return this.#entries.size
  }

  /** @param acceptExpired while the directory is away an old route is better than none */
  get(key: string, acceptExpired = false): ReadRoute | undefined {
    const entry = this.#entries.get(key)
    if (entry == null) return undefined
    if (entry.expiresMs < this.#clock.nowMs() && !acceptExpired) return undefined
    // A Map keeps the order of insertion: last is most recently used. While nobody is about to go, the order
    // is not worth two changes of a large Map for each read: 15 % of the time of a client that reads small ones.
    if (this.#entries.size > this.#keysMax / 2) {
      this.#entries.delete(key)
      this.#entries.set(key, entry)
    }
    return entry
  }

  set(key: string, { byteLength, generation, replicas }: ReadRoute): void {
    this.#entries.delete(key)
    const expiresMs = this.#clock.nowMs() + this.#ttlMs
    this.#entries.set(key, { byteLength, generation, replicas, expiresMs })
    if (this.#entries.size <= this.#keysMax) return
    const oldest = this.#entries.keys().next()
    if (oldest.done !== true) this.#entries.delete(oldest.value)
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }
}
