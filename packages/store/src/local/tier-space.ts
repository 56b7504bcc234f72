import type { Tier, TierAllocation } from '@mooncake-ts/core'
import { Holding } from './holding.js'

/** One tier, with what the backend counts of its space. */
export class TierSpace {
  readonly tier: Tier
  /** Eviction begins above `highBytes` and goes on down to `lowBytes`. */
  readonly highBytes: number
  readonly lowBytes: number
  /** Reservations that wait for this tier, perhaps among others. */
  waitingCount = 0
  readonly #onFreed: () => void
  readonly #giveBack = (holding: Holding): void => {
    this.#free(holding)
  }
  #heldBytes = 0
  #freeingBytes = 0

  /** @param onFreed space has come back; called inside of the release that gave it */
  constructor(tier: Tier, watermarks: { readonly high: number; readonly low: number }, onFreed: () => void) {
    this.tier = tier
    this.highBytes = watermarks.high * tier.capacityBytes
    this.lowBytes = watermarks.low * tier.capacityBytes
    this.#onFreed = onFreed
  }

  /** Without what is on its way back: evicting more for the sake of that would be in vain. */
  get usedBytes(): number {
    return this.tier.usedBytes - this.#freeingBytes
  }

  /** On their way back to the tier. */
  get freeingBytes(): number {
    return this.#freeingBytes
  }

  /**
   * Whether so many bytes could fit once all of `evictableBytes` had gone. Fragmentation may still say no.
   */
  couldFit(byteLength: number, evictableBytes: number): boolean {
    return byteLength <= this.tier.capacityBytes - (this.#heldBytes - evictableBytes)
  }

  hold(allocation: TierAllocation): Holding {
    const holding = new Holding(this.tier, allocation, this.#giveBack)
    this.#heldBytes += holding.takenBytes
    return holding
  }

  #free({ allocation, takenBytes }: Holding): void {
    this.#heldBytes -= takenBytes
    const freeing = this.tier.free(allocation)
    if (freeing == null) {
      this.#onFreed()
      return
    }
    this.#freeingBytes += takenBytes
    const freed = (): void => {
      this.#freeingBytes -= takenBytes
      this.#onFreed()
    }
    freeing.then(freed, freed)
  }
}
