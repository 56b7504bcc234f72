import type { EvictionPolicy, EvictionPolicyFactory } from '@mooncake-ts/core'
import { SlotLists } from './slot-lists.js'

const ALL = 0

/** Evicts what was not used for longest. */
export class LruPolicy implements EvictionPolicy {
  readonly #lists = new SlotLists(1)

  insert(slot: number): void {
    this.#lists.add(ALL, slot)
  }

  hit(slot: number): void {
    if (this.#lists.delete(slot) != null) this.#lists.add(ALL, slot)
  }

  hold(slot: number): void {
    this.#lists.delete(slot)
  }

  /** As the most recently used one: it was in use until now. */
  release(slot: number): void {
    this.#lists.add(ALL, slot)
  }

  remove(slot: number): void {
    this.#lists.delete(slot)
  }

  victim(): number | undefined {
    return this.#lists.oldest(ALL)
  }
}

/** Least recently used first out. */
export function lru(): EvictionPolicyFactory {
  return Object.freeze({ name: 'lru', create: () => new LruPolicy() })
}
