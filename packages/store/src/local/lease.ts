import type { Slice } from '@mooncake-ts/core'
import type { Holding } from './holding.js'
import type { ObjectMeta, Replica } from './object-table.js'

/**
 * A reader's hold on an object: its bytes stay as they are until `release`, also when the key is replaced,
 * removed or evicted (I4).
 */
export class Lease implements Disposable {
  /** For the backend that made it. */
  readonly replica: Replica
  readonly #onRelease: (replica: Replica) => void
  #open = true

  constructor(replica: Replica, onRelease: (replica: Replica) => void) {
    this.replica = replica
    this.#onRelease = onRelease
  }

  get meta(): ObjectMeta {
    return this.replica.object
  }

  get holding(): Holding {
    return this.replica.holding
  }

  /** Where the bytes are, in tiers with direct memory; others are read by `TieredBackend.readInto`. */
  get slice(): Slice | undefined {
    return this.replica.holding.slice
  }

  get released(): boolean {
    return !this.#open
  }

  /** Idempotent. */
  release(): void {
    if (!this.#open) return
    this.#open = false
    this.#onRelease(this.replica)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
