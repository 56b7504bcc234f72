import { MooncakeError, type Slice, type Tier, type TierAllocation } from '@mooncake-ts/core'

/**
 * Shared ownership of a piece of a tier. The maker holds it first; everybody else who needs the bytes to stay
 * retains it, and the piece goes back to the tier when the last one lets go. This is what keeps a reader's
 * bytes whole while their object is replaced or evicted (I4).
 */
export class Holding {
  readonly tier: Tier
  readonly allocation: TierAllocation
  readonly #onLast: (holding: Holding) => void
  #holders = 1

  /** @param onLast gives the piece back; called exactly once, by the last release */
  constructor(tier: Tier, allocation: TierAllocation, onLast: (holding: Holding) => void = freeNow) {
    this.tier = tier
    this.allocation = allocation
    this.#onLast = onLast
  }

  get byteLength(): number {
    return this.allocation.byteLength
  }

  /** What the tier has again when it is given back. */
  get takenBytes(): number {
    return this.allocation.takenBytes ?? this.allocation.byteLength
  }

  /** Where the bytes are, in tiers with direct memory. */
  get slice(): Slice | undefined {
    return this.allocation.slice
  }

  get holders(): number {
    return this.#holders
  }

  /** @throws ERR_INTERNAL once the piece has gone back */
  retain(): this {
    this.#assertHeld()
    this.#holders++
    return this
  }

  /** True for the last one. @throws ERR_INTERNAL once the piece has gone back */
  release(): boolean {
    this.#assertHeld()
    if (--this.#holders > 0) return false
    this.#onLast(this)
    return true
  }

  #assertHeld(): void {
    if (this.#holders > 0) return
    const { id, byteLength } = this.allocation
    throw new MooncakeError(
      'ERR_INTERNAL',
      `Allocation ${id} (${byteLength} B) of ${this.tier.name} was given back already`,
    )
  }
}

function freeNow({ tier, allocation }: Holding): void {
  void tier.free(allocation)
}
