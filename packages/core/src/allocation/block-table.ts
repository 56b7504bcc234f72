/** No block: ends every list. */
export const NONE = 0xffff_ffff

/** Blocks that the first table has room for; it doubles when they are used up. */
const ROOM_FIRST = 1024

/** Generations wrap here, because an id has 21 bits for them. Odd ones are held. */
const GENERATION_SPAN = 2 ** 21

/**
 * The blocks of a range as rows of typed arrays: no objects, hence nothing for the garbage collector, however
 * many there are. Rows of blocks that were joined away are used again.
 */
export class BlockTable {
  offsets = new Uint32Array(ROOM_FIRST)
  units = new Uint32Array(ROOM_FIRST)
  /** The neighbours in the range. */
  before = new Uint32Array(ROOM_FIRST)
  after = new Uint32Array(ROOM_FIRST)
  /** The neighbours in the bin, while a block is free. */
  binPrevious = new Uint32Array(ROOM_FIRST)
  binNext = new Uint32Array(ROOM_FIRST)
  /**
   * Counted up whenever the block is taken and whenever it is given back, also under a new life of the row.
   */
  #generations = new Uint32Array(ROOM_FIRST)
  /** Rows that were given out at least once. */
  #rows = 0
  /** First of the rows to use again, linked through `after`. */
  #spare = NONE

  /** A free block without neighbours. */
  add(offset: number, units: number): number {
    const block = this.#newRow()
    this.offsets[block] = offset
    this.units[block] = units
    this.before[block] = NONE
    this.after[block] = NONE
    return block
  }

  /** Cuts `block` down to `units`; what is left becomes the free block after it, which is given back. */
  split(block: number, units: number): number {
    const rest = this.add(this.offsets[block]! + units, this.units[block]! - units)
    const after = this.after[block]!
    this.units[block] = units
    this.before[rest] = block
    this.after[rest] = after
    this.after[block] = rest
    if (after !== NONE) this.before[after] = rest
    return rest
  }

  /** `block` takes over the one after it. */
  join(block: number, next: number): void {
    const after = this.after[next]!
    this.units[block]! += this.units[next]!
    this.after[block] = after
    if (after !== NONE) this.before[after] = block
    this.after[next] = this.#spare
    this.#spare = next
  }

  /** Gives the generation that the holder must show. */
  hold(block: number): number {
    return this.#advance(block)
  }

  letGo(block: number): void {
    this.#advance(block)
  }

  isHeld(block: number): boolean {
    return this.#generations[block]! % 2 === 1
  }

  isHeldIn(block: number, generation: number): boolean {
    return block < this.#rows && this.isHeld(block) && this.#generations[block] === generation
  }

  #advance(block: number): number {
    const generation = (this.#generations[block]! + 1) % GENERATION_SPAN
    this.#generations[block] = generation
    return generation
  }

  #newRow(): number {
    const spare = this.#spare
    if (spare !== NONE) {
      this.#spare = this.after[spare]!
      return spare
    }
    if (this.#rows === this.offsets.length) this.#grow()
    return this.#rows++
  }

  #grow(): void {
    const doubled = (from: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> => {
      const to = new Uint32Array(from.length * 2)
      to.set(from)
      return to
    }
    this.offsets = doubled(this.offsets)
    this.units = doubled(this.units)
    this.before = doubled(this.before)
    this.after = doubled(this.after)
    this.binPrevious = doubled(this.binPrevious)
    this.binNext = doubled(this.binNext)
    this.#generations = doubled(this.#generations)
  }
}
