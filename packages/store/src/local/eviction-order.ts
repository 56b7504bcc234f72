import type { BatchPlace, EvictionPolicy } from '@mooncake-ts/core'

/** What an order needs of its members. */
export interface OrderMember {
  readonly key: string
  readonly byteLength: number
  /** What its eviction gives back. */
  readonly takenBytes: number
  /** For the order. */
  slot: number
}

/**
 * Objects that may be evicted some day, and the policy that says who is next. It gives the policy its slots, and
 * counts the bytes of those that are not held.
 */
export class EvictionOrder<M extends OrderMember> {
  readonly #policy: EvictionPolicy
  readonly #members: Array<M | undefined> = []
  readonly #freeSlots: number[] = []
  #evictableBytes = 0

  constructor(policy: EvictionPolicy) {
    this.#policy = policy
  }

  /** Of all members that are not held. */
  get evictableBytes(): number {
    return this.#evictableBytes
  }

  /** Who goes next; undefined when none can. */
  get victim(): M | undefined {
    const slot = this.#policy.victim()
    return slot == null ? undefined : this.#members[slot]
  }

  add(member: M, place?: BatchPlace): void {
    const slot = this.#freeSlots.pop() ?? this.#members.length
    member.slot = slot
    this.#members[slot] = member
    this.#evictableBytes += member.takenBytes
    this.#policy.insert(slot, member, place)
  }

  use(member: M): void {
    this.#policy.hit(member.slot)
  }

  /** No victim until it is released. Not nested. */
  hold(member: M): void {
    this.#policy.hold(member.slot)
    this.#evictableBytes -= member.takenBytes
  }

  release(member: M): void {
    this.#policy.release(member.slot)
    this.#evictableBytes += member.takenBytes
  }

  delete(member: M, { evicted, held }: { readonly evicted: boolean; readonly held: boolean }): void {
    this.#policy.remove(member.slot, evicted)
    if (!held) this.#evictableBytes -= member.takenBytes
    this.#members[member.slot] = undefined
    this.#freeSlots.push(member.slot)
  }
}
