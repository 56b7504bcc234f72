import { MooncakeError, type Slice } from '@mooncake-ts/core'
import type { Holding } from './holding.js'
import type { InUse } from './in-use.js'

/** Space in a tier for an object that has no name yet. It ends with `commit`, or with `abandon`. */
export class Reservation implements Disposable {
  readonly holding: Holding
  readonly #inUse: InUse
  #open = true

  constructor(holding: Holding, inUse: InUse) {
    this.holding = holding
    this.#inUse = inUse
    inUse.enter()
  }

  get byteLength(): number {
    return this.holding.byteLength
  }

  /** Where the bytes go, in tiers with direct memory; others are filled by `TieredBackend.fill`. */
  get slice(): Slice | undefined {
    return this.holding.slice
  }

  /**
   * Gives the space back. What still moves bytes into it must have ended. Does nothing after `commit` or a
   * first call.
   */
  abandon(): void {
    if (!this.#open) return
    this.#open = false
    this.holding.release()
    this.#inUse.leave()
  }

  /**
   * For the backend, which takes the hold over, and counts as a user until it calls `InUse.leave`.
   * @throws ERR_INVALID_WRITE
   */
  take(): Holding {
    if (!this.#open) throw new MooncakeError('ERR_INVALID_WRITE', 'The reservation has ended already')
    this.#open = false
    return this.holding
  }

  [Symbol.dispose](): void {
    this.abandon()
  }
}
