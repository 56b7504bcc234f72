/** Where an object stands among those that were put, or asked for, in one call. */
export interface BatchPlace {
  /** From 0 on, in the caller's order. */
  readonly index: number
  /** Objects of the call. */
  readonly count: number
}

/** What a policy is told of an object when it comes. */
export interface EvictionEntry {
  readonly key: string
  readonly byteLength: number
}

/**
 * Who goes next in one tier. Objects are *slots*, small whole numbers that their owner hands out and reuses, so
 * that a policy can keep what it knows in typed arrays. All calls are synchronous, take (amortised) constant
 * time, throw nothing, and are made in this order for each slot: `insert`, then any of `hit`, `hold` and
 * `release`, then `remove`.
 *
 * A policy hears only of what may be evicted some day: hard pins, and soft pins while others are left, are their
 * owner's affair.
 */
export interface EvictionPolicy {
  /** The object came. It may have been here before, under another slot: the key tells. */
  insert(slot: number, entry: EvictionEntry, place?: BatchPlace): void
  /** The object was used. Also while it is held. */
  hit(slot: number, place?: BatchPlace): void
  /** It must not be the victim until `release`, as for a reader. Not nested. */
  hold(slot: number): void
  release(slot: number): void
  /** It left the tier: because it was the victim (`evicted`), or for its owner's reasons. Also while held. */
  remove(slot: number, evicted: boolean): void
  /**
   * Who goes next: never one that is held, and undefined only when there is no other. It stays until `remove`;
   * asked again without a change in between, the answer is the same.
   */
  victim(): number | undefined
}

/** What a policy may know of its tier when it is made. */
export interface EvictionScope {
  readonly capacityBytes: number
}

/** An inert value, as plugins are: `evictionPolicy: lru()`. Every tier gets an instance of its own. */
export interface EvictionPolicyFactory {
  readonly name: string
  create(scope: EvictionScope): EvictionPolicy
}
