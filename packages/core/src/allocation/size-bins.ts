/**
 * Which free blocks could hold a request, found without a search: blocks of about the same size share a bin,
 * and two levels of bitmaps say which bins have any. Sizes are counted in units, from 1 to 2^32 - 1.
 *
 * A bin is a power of two cut into 32 equal steps, like a floating-point number with five bits of mantissa,
 * so sizes of one bin differ by at most 3 %. Below 32 units, every size has its own bin. 32 steps, because
 * one word of bitmap covers them.
 */
const STEP_BITS = 5
const STEPS = 1 << STEP_BITS

/** 28 rows of 32 bins: sizes below 32 share the first row, then one row for each power of two up to 2^31. */
const ROWS = 32 - STEP_BITS + 1
export const BIN_COUNT = ROWS * STEPS

/** The bin that a free block of this size belongs to. */
export function binOf(units: number): number {
  if (units < STEPS) return units
  const exponent = 31 - Math.clz32(units)
  return (exponent - STEP_BITS) * STEPS + (units >>> (exponent - STEP_BITS))
}

/** The lowest bin whose blocks are all large enough; it may be `BIN_COUNT`, which is none. */
export function binAtLeast(units: number): number {
  const bin = binOf(units)
  return smallestOf(bin) === units ? bin : bin + 1
}

/** The size of the smallest block that belongs to this bin. */
function smallestOf(bin: number): number {
  if (bin < STEPS) return bin
  const shift = (bin >>> STEP_BITS) - 1
  return (STEPS + (bin % STEPS)) * 2 ** shift
}

/** Which bins are not empty. */
export class BinMap {
  readonly #rows = new Uint32Array(ROWS)
  #rowsInUse = 0

  add(bin: number): void {
    const row = bin >>> STEP_BITS
    this.#rows[row]! |= 1 << (bin % STEPS)
    this.#rowsInUse |= 1 << row
  }

  remove(bin: number): void {
    const row = bin >>> STEP_BITS
    this.#rows[row]! &= ~(1 << (bin % STEPS))
    if (this.#rows[row] === 0) this.#rowsInUse &= ~(1 << row)
  }

  /** The lowest bin from `bin` on that is not empty, or -1. */
  firstFrom(bin: number): number {
    if (bin >= BIN_COUNT) return -1
    const row = bin >>> STEP_BITS
    const here = this.#rows[row]! & (-1 << (bin % STEPS))
    if (here !== 0) return row * STEPS + lowestBit(here)
    const above = this.#rowsInUse & (-1 << (row + 1)) // Row 31 does not exist, so the shift stays below 32.
    if (above === 0) return -1
    const next = lowestBit(above)
    return next * STEPS + lowestBit(this.#rows[next]!)
  }

  /** The highest bin that is not empty, or -1. */
  last(): number {
    if (this.#rowsInUse === 0) return -1
    const row = highestBit(this.#rowsInUse)
    return row * STEPS + highestBit(this.#rows[row]!)
  }
}

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word)
const highestBit = (word: number): number => 31 - Math.clz32(word)
