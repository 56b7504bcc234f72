import { GROUPS } from './reuse-model.js'
import { SlotLists } from './slot-lists.js'

/** Slots by group, with the first group in a given order that is not empty in constant time. */
export class GroupLists {
  readonly #lists = new SlotLists(GROUPS)
  readonly #order = new Uint16Array(GROUPS)
  readonly #rankOf = new Uint16Array(GROUPS)
  /** One bit a rank: its group has members. */
  readonly #occupied = new Int32Array(Math.ceil(GROUPS / 32))

  /** From now on. */
  arrange(order: readonly number[]): void {
    this.#occupied.fill(0)
    order.forEach((group, rank) => {
      this.#order[rank] = group
      this.#rankOf[group] = rank
      if (!this.#lists.isEmpty(group)) this.#occupied[rank >> 5]! |= 1 << (rank & 31)
    })
  }

  add(group: number, slot: number): void {
    this.#lists.add(group, slot)
    const rank = this.#rankOf[group]!
    this.#occupied[rank >> 5]! |= 1 << (rank & 31)
  }

  /** False where it was in no group. */
  delete(slot: number): boolean {
    const group = this.#lists.delete(slot)
    if (group == null) return false
    const rank = this.#rankOf[group]!
    if (this.#lists.isEmpty(group)) this.#occupied[rank >> 5]! &= ~(1 << (rank & 31))
    return true
  }

  get first(): number | undefined {
    for (let word = 0; word < this.#occupied.length; word++) {
      const bits = this.#occupied[word]!
      if (bits !== 0) return this.#order[32 * word + 31 - Math.clz32(bits & -bits)]!
    }
    return undefined
  }

  oldest(group: number): number | undefined {
    return this.#lists.oldest(group)
  }

  newest(group: number): number | undefined {
    return this.#lists.newest(group)
  }
}
