const NONE = -1
const FIRST_SLOTS = 64

/**
 * Doubly linked lists of slots, many in one set of arrays; a slot is in one of them at most. All operations take
 * constant time, amortised over the arrays' growth.
 */
export class SlotLists {
  readonly #oldest: Int32Array
  readonly #newest: Int32Array
  #older = filled(FIRST_SLOTS)
  #newer = filled(FIRST_SLOTS)
  #listOf = filled(FIRST_SLOTS)

  constructor(listCount: number) {
    this.#oldest = filled(listCount)
    this.#newest = filled(listCount)
  }

  oldest(list: number): number | undefined {
    const slot = this.#oldest[list]!
    return slot === NONE ? undefined : slot
  }

  newest(list: number): number | undefined {
    const slot = this.#newest[list]!
    return slot === NONE ? undefined : slot
  }

  isEmpty(list: number): boolean {
    return this.#oldest[list] === NONE
  }

  /** The list that it is in. */
  listOf(slot: number): number | undefined {
    const list = this.#listOf[slot] ?? NONE
    return list === NONE ? undefined : list
  }

  /** As the newest. The slot must not be in a list. */
  add(list: number, slot: number): void {
    if (slot >= this.#listOf.length) this.#grow(slot + 1)
    const before = this.#newest[list]!
    this.#older[slot] = before
    this.#newer[slot] = NONE
    this.#listOf[slot] = list
    if (before === NONE) this.#oldest[list] = slot
    else this.#newer[before] = slot
    this.#newest[list] = slot
  }

  /** Gives the list that it was in; undefined where it was in none. */
  delete(slot: number): number | undefined {
    const list = this.listOf(slot)
    if (list == null) return undefined
    const older = this.#older[slot]!
    const newer = this.#newer[slot]!
    if (older === NONE) this.#oldest[list] = newer
    else this.#newer[older] = newer
    if (newer === NONE) this.#newest[list] = older
    else this.#older[newer] = older
    this.#listOf[slot] = NONE
    return list
  }

  #grow(slotCount: number): void {
    const length = Math.max(slotCount, 2 * this.#listOf.length)
    const larger = (array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const copy = filled(length)
      copy.set(array)
      return copy
    }
    this.#older = larger(this.#older)
    this.#newer = larger(this.#newer)
    this.#listOf = larger(this.#listOf)
  }
}

function filled(length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(length).fill(NONE)
}
