import type { Allocated, Allocator } from '../contracts/allocator.js'
import { MooncakeError } from '../errors/error.js'
import { BIN_COUNT, binAtLeast, BinMap, binOf } from './size-bins.js'
import { BlockTable, NONE } from './block-table.js'

export interface OffsetAllocatorOptions {
  readonly capacityBytes: number
  /**
   * Offsets are multiples of it and lengths are rounded up to it; a power of two. It is raised where the
   * capacity has 2^32 or more such units.
   * @defaultValue 64, a cache line
   */
  readonly alignmentBytes?: number
}

const ALIGNMENT_BYTES_DEFAULT = 64
const UNITS_MAX = 2 ** 32 - 1
/** An id is a generation and the index of a block: 21 and 32 bits of the 53 that a number holds exactly. */
const INDEX_SPAN = 2 ** 32

/** How many blocks of a bin are looked at where no bin is sure to fit: few, to stay O(1). */
const PROBES_MAX = 16

/**
 * Places pieces in a range of bytes, in O(1): no step depends on how many pieces there are or how large they
 * are.
 *
 * The range is a chain of blocks, each free or held, in the order of their offsets. Free blocks also hang in
 * the bin of their size. `allocate` takes a block from the lowest bin that fits and gives the rest back;
 * `free` joins a block with free neighbours at once, so two free blocks never touch.
 */
export class OffsetAllocator implements Allocator {
  readonly capacityBytes: number
  /** What offsets and lengths are rounded to; above the one asked for where the capacity needs it. */
  readonly alignmentBytes: number
  readonly #blocks = new BlockTable()
  readonly #bins = new BinMap()
  readonly #binHeads = new Uint32Array(BIN_COUNT).fill(NONE)
  /** Where `hold` goes on: the free end of the range, until anything else happens. */
  #end: number
  #usedUnits = 0
  #count = 0

  /** @throws ERR_INVALID_PARAMS */
  constructor(options: OffsetAllocatorOptions) {
    const { capacityBytes, alignmentBytes = ALIGNMENT_BYTES_DEFAULT } = options
    assertOptions(capacityBytes, alignmentBytes)
    this.alignmentBytes = alignmentBytes
    while (Math.floor(capacityBytes / this.alignmentBytes) > UNITS_MAX) this.alignmentBytes *= 2
    const units = Math.floor(capacityBytes / this.alignmentBytes)
    this.capacityBytes = units * this.alignmentBytes
    const whole = this.#blocks.add(0, units)
    this.#link(whole)
    this.#end = whole
  }

  get usedBytes(): number {
    return this.#usedUnits * this.alignmentBytes
  }

  get count(): number {
    return this.#count
  }

  get largestFreeBytes(): number {
    const bin = this.#bins.last()
    if (bin < 0) return 0
    let largest = 0
    let block = this.#binHeads[bin]!
    for (let probes = 0; probes < PROBES_MAX && block !== NONE; probes++) {
      largest = Math.max(largest, this.#blocks.units[block]!)
      block = this.#blocks.binNext[block]!
    }
    return largest * this.alignmentBytes
  }

  allocate(byteLength: number): Allocated | undefined {
    if (!Number.isSafeInteger(byteLength) || byteLength <= 0) {
      throw new RangeError(`byteLength must be a positive safe integer, not ${byteLength}`)
    }
    const units = Math.ceil(byteLength / this.alignmentBytes)
    const block = this.#find(units)
    if (block === NONE) return undefined
    this.#end = NONE
    this.#unlink(block)
    const rest = this.#blocks.units[block]! - units
    if (rest > 0) this.#link(this.#blocks.split(block, units))
    return this.#take(block, byteLength)
  }

  /**
   * Takes a piece at a place that is known from an earlier life. Only at the beginning, before anything is
   * allocated or freed, and in the order of the offsets; each is O(1).
   * @throws ERR_INVALID_PARAMS for a place that cannot be had
   */
  hold(offset: number, byteLength: number): Allocated {
    const blocks = this.#blocks
    const at = offset / this.alignmentBytes
    const units = Math.ceil(byteLength / this.alignmentBytes)
    let block = this.#end
    const gap = block === NONE ? -1 : at - blocks.offsets[block]!
    if (!Number.isSafeInteger(at) || !(units > 0) || gap < 0 || gap + units > blocks.units[block]!) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `${byteLength} bytes at ${offset} cannot be held now`)
    }
    this.#unlink(block)
    if (gap > 0) {
      const beyond = blocks.split(block, gap)
      this.#link(block)
      block = beyond
    }
    this.#end = NONE
    if (blocks.units[block]! > units) {
      this.#end = blocks.split(block, units)
      this.#link(this.#end)
    }
    return this.#take(block, byteLength)
  }

  free(piece: Allocated): void {
    const blocks = this.#blocks
    let block = this.#held(piece)
    this.#end = NONE
    blocks.letGo(block)
    this.#usedUnits -= blocks.units[block]!
    this.#count--
    const before = blocks.before[block]!
    if (before !== NONE && !blocks.isHeld(before)) {
      this.#unlink(before)
      blocks.join(before, block)
      block = before
    }
    const after = blocks.after[block]!
    if (after !== NONE && !blocks.isHeld(after)) {
      this.#unlink(after)
      blocks.join(block, after)
    }
    this.#link(block)
  }

  #take(block: number, byteLength: number): Allocated {
    const generation = this.#blocks.hold(block)
    this.#usedUnits += this.#blocks.units[block]!
    this.#count++
    return {
      id: generation * INDEX_SPAN + block,
      offset: this.#blocks.offsets[block]! * this.alignmentBytes,
      byteLength,
    }
  }

  /** A free block of at least `units`, or NONE. */
  #find(units: number): number {
    if (units > UNITS_MAX) return NONE
    const bin = this.#bins.firstFrom(binAtLeast(units))
    if (bin >= 0) return this.#binHeads[bin]!
    // Only blocks of the very bin of the request are left, and some are too small. Looking at a few keeps the
    // promise of `largestFreeBytes`, and lets a range be taken whole.
    let block = this.#binHeads[binOf(units)]!
    for (let probes = 0; probes < PROBES_MAX && block !== NONE; probes++) {
      if (this.#blocks.units[block]! >= units) return block
      block = this.#blocks.binNext[block]!
    }
    return NONE
  }

  /** @throws ERR_INVALID_PARAMS */
  #held(piece: Allocated): number {
    const block = piece.id % INDEX_SPAN
    const generation = Math.floor(piece.id / INDEX_SPAN)
    const known =
      this.#blocks.isHeldIn(block, generation) &&
      this.#blocks.offsets[block]! * this.alignmentBytes === piece.offset &&
      this.#blocks.units[block] === Math.ceil(piece.byteLength / this.alignmentBytes)
    if (known) return block
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `The piece ${piece.id} at ${piece.offset} is not held: it was freed before, or is of another allocator`,
    )
  }

  /** Hangs a free block at the head of its bin. */
  #link(block: number): void {
    const bin = binOf(this.#blocks.units[block]!)
    const head = this.#binHeads[bin]!
    this.#blocks.binPrevious[block] = NONE
    this.#blocks.binNext[block] = head
    if (head === NONE) this.#bins.add(bin)
    else this.#blocks.binPrevious[head] = block
    this.#binHeads[bin] = block
  }

  #unlink(block: number): void {
    const previous = this.#blocks.binPrevious[block]!
    const next = this.#blocks.binNext[block]!
    if (next !== NONE) this.#blocks.binPrevious[next] = previous
    if (previous !== NONE) {
      this.#blocks.binNext[previous] = next
      return
    }
    const bin = binOf(this.#blocks.units[block]!)
    this.#binHeads[bin] = next
    if (next === NONE) this.#bins.remove(bin)
  }
}

function assertOptions(capacityBytes: number, alignmentBytes: number): void {
  const isPowerOfTwo = Number.isInteger(Math.log2(alignmentBytes))
  if (!Number.isSafeInteger(alignmentBytes) || alignmentBytes <= 0 || !isPowerOfTwo) {
    throw new MooncakeError('ERR_INVALID_PARAMS', 'alignmentBytes must be a power of two')
  }
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes < alignmentBytes) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `capacityBytes must be a whole number of at least ${alignmentBytes}, the alignment`,
    )
  }
}
