import type { Clock } from '@mooncake-ts/core'

export interface TombstoneOptions {
  /** Over all nodes; the oldest make room. */
  readonly tombstonesMax: number
  readonly tombstoneTtlMs: number
}

interface Tombstone {
  readonly generationMax: number
  readonly expiresMs: number
}

/**
 * Keys that were removed while a node that holds them was silent. It is told when it comes back, also as a
 * new process: a tier that survives a restart comes back with its old content. Hence by node name. In the
 * order of age.
 */
export class Tombstones {
  readonly #clock: Clock
  readonly #options: TombstoneOptions
  readonly #byNode = new Map<string, Map<string, Tombstone>>()
  #size = 0
  #evicted = 0

  constructor(clock: Clock, options: TombstoneOptions) {
    this.#clock = clock
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  /** Those that had to go before their time: a removed key may come back with its node. */
  get evicted(): number {
    return this.#evicted
  }

  add(nodeName: string, key: string, generationMax: number): void {
    const stones = this.#byNode.get(nodeName) ?? new Map<string, Tombstone>()
    this.#byNode.set(nodeName, stones)
    const known = stones.get(key)
    if (known != null) this.#delete(nodeName, stones, key)
    const expiresMs = this.#clock.nowMs() + this.#options.tombstoneTtlMs
    this.#byNode.set(nodeName, stones)
    stones.set(key, { generationMax: Math.max(generationMax, known?.generationMax ?? 0), expiresMs })
    this.#size++
    while (this.#size > this.#options.tombstonesMax) this.#evictOldest()
  }

  /** Whether this node's replica was removed while it was away. */
  covers(nodeName: string, key: string, generation: number): boolean {
    const stone = this.#byNode.get(nodeName)?.get(key)
    return stone != null && generation <= stone.generationMax && stone.expiresMs > this.#clock.nowMs()
  }

  *of(nodeName: string): Generator<{ readonly key: string; readonly generationMax: number }> {
    for (const [key, { generationMax }] of this.#byNode.get(nodeName) ?? []) yield { key, generationMax }
  }

  /** The node has compared all that it holds. */
  forget(nodeName: string): void {
    this.#size -= this.#byNode.get(nodeName)?.size ?? 0
    this.#byNode.delete(nodeName)
  }

  expire(): void {
    const nowMs = this.#clock.nowMs()
    for (const [nodeName, stones] of this.#byNode) {
      for (const [key, { expiresMs }] of stones) {
        if (expiresMs > nowMs) break
        this.#delete(nodeName, stones, key)
      }
    }
  }

  #evictOldest(): void {
    let oldest: { nodeName: string; stones: Map<string, Tombstone>; key: string } | undefined
    let oldestMs = Infinity
    for (const [nodeName, stones] of this.#byNode) {
      const [first] = stones
      if (first == null || first[1].expiresMs >= oldestMs) continue
      oldest = { nodeName, stones, key: first[0] }
      oldestMs = first[1].expiresMs
    }
    if (oldest == null) return
    this.#delete(oldest.nodeName, oldest.stones, oldest.key)
    this.#evicted++
  }

  #delete(nodeName: string, stones: Map<string, Tombstone>, key: string): void {
    stones.delete(key)
    this.#size--
    if (stones.size === 0) this.#byNode.delete(nodeName)
  }
}
