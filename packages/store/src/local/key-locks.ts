import { MooncakeError } from '@mooncake-ts/core'
import { hashKey } from './key-hash.js'

/**
 * Locks for keys, in stripes: keys of one stripe exclude each other, first in, first out. Whoever finds its
 * stripe free runs at once and without a promise of ours. Not reentrant: a holder that asks again for a key
 * waits for itself.
 */
export class KeyLocks {
  readonly #held: Uint8Array
  #heldCount = 0
  /** By stripe, where somebody waits. A Set is a queue that forgets in constant time. */
  readonly #waiting = new Map<number, Set<() => void>>()

  /** @throws ERR_INVALID_PARAMS */
  constructor(lockShardCount = 1024) {
    if (!Number.isSafeInteger(lockShardCount) || lockShardCount < 1) {
      throw new MooncakeError('ERR_INVALID_PARAMS', 'lockShardCount must be a positive whole number')
    }
    this.#held = new Uint8Array(lockShardCount)
  }

  /** Runs `fn` alone among the keys of this stripe; gives what it gives, when it gives it. */
  lock<T>(key: string, fn: () => T | Promise<T>): T | Promise<T> {
    const stripe = this.#stripeOf(key)
    if (this.#held[stripe] === 1) return this.#turn(stripe).then(() => this.#runHeld(stripe, fn))
    this.#held[stripe] = 1
    this.#heldCount++
    return this.#runHeld(stripe, fn)
  }

  /** Whether `lock` would have to wait. */
  isHeld(key: string): boolean {
    return this.#heldCount > 0 && this.#held[this.#stripeOf(key)] === 1
  }

  #stripeOf(key: string): number {
    return hashKey(key) % this.#held.length
  }

  #runHeld<T>(stripe: number, fn: () => T | Promise<T>): T | Promise<T> {
    let result: T | Promise<T>
    try {
      result = fn()
    } catch (error) {
      this.#release(stripe)
      throw error
    }
    if (result instanceof Promise)
      return result.finally(() => {
        this.#release(stripe)
      })
    this.#release(stripe)
    return result
  }

  #turn(stripe: number): Promise<void> {
    return new Promise(resolve => {
      const queue = this.#waiting.get(stripe)
      if (queue == null) this.#waiting.set(stripe, new Set([resolve]))
      else queue.add(resolve)
    })
  }

  #release(stripe: number): void {
    const queue = this.#waiting.get(stripe)
    if (queue == null) {
      this.#held[stripe] = 0
      this.#heldCount--
      return
    }
    // Handed over without being free in between, so that nobody overtakes.
    const [next] = queue
    queue.delete(next!)
    if (queue.size === 0) this.#waiting.delete(stripe)
    next!()
  }
}
