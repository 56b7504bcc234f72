import type { EvictionPolicyFactory } from '@mooncake-ts/core'

/** A tier of blocks of one size without their bytes: which are here, and a policy that says who goes. */
export class SimulatedTier {
  readonly #policy
  readonly #capacityBlocks: number
  readonly #slots = new Map<number, number>()
  /** By slot. */
  readonly #blocks: number[] = []
  readonly #free: number[] = []

  constructor(factory: EvictionPolicyFactory, capacityBlocks: number) {
    this.#policy = factory.create({ capacityBytes: capacityBlocks })
    this.#capacityBlocks = capacityBlocks
  }

  /**
   * One request, as an inference engine makes it: it gets what is here and puts what is not. Gives the leading hits: of
   * blocks before which every block of the request was here too.
   */
  request(blockIds: readonly number[]): number {
    const firstMiss = blockIds.findIndex(id => !this.#slots.has(id))
    const missing = blockIds.filter(id => !this.#slots.has(id))
    blockIds.forEach((id, index) => {
      const slot = this.#slots.get(id)
      if (slot != null) this.#policy.hit(slot, { index, count: blockIds.length })
    })
    missing.forEach((id, index) => {
      this.#put(id, index, missing.length)
    })
    return firstMiss < 0 ? blockIds.length : firstMiss
  }

  /** A block can come twice in one request. */
  #put(block: number, index: number, count: number): void {
    const place = { index, count }
    const present = this.#slots.get(block)
    if (present != null) {
      this.#policy.hit(present, place)
      return
    }
    if (this.#slots.size === this.#capacityBlocks) this.#evict()
    const slot = this.#free.pop() ?? this.#blocks.length
    this.#blocks[slot] = block
    this.#slots.set(block, slot)
    this.#policy.insert(slot, { key: String(block), byteLength: 1 }, place)
  }

  #evict(): void {
    const victim = this.#policy.victim()
    const block = victim == null ? undefined : this.#blocks[victim]
    if (victim == null || block == null) throw new Error('The policy found no victim in a full tier')
    this.#policy.remove(victim, true)
    this.#slots.delete(block)
    this.#free.push(victim)
  }
}
