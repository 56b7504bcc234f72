import { MooncakeError, type TierAllocation } from '@mooncake-ts/core'
import { roundUp } from './io.js'

/** What is known of a row. */
export const RowState = {
  free: 0,
  /** Set aside; nothing of it is in the index. */
  held: 1,
  /** The index has a record of it, or may have one. */
  logged: 2,
  /** Of an earlier life; `recover` has not given it to the engine yet. */
  found: 3,
  /** Given back; its record is being taken out of the index. */
  freeing: 4,
} as const

const ROOM_FIRST = 1024
const NONE = 0xffff_ffff
/** An id is a number of lives and a row: 21 and 32 bits of the 53 that a number holds exactly. */
const ROW_SPAN = 2 ** 32
const LIFE_SPAN = 2 ** 21

/**
 * The objects of a tier as rows of typed arrays: nothing for the garbage collector, however many there are.
 */
export class ObjectRows {
  /** Bytes from the beginning of the range; the piece of the allocator has the same place. */
  offsets = new Float64Array(ROOM_FIRST)
  byteLengths = new Float64Array(ROOM_FIRST)
  /** The allocator's id of the piece; nothing for objects of zero bytes. */
  pieceIds = new Float64Array(ROOM_FIRST)
  /** Number of the index record: of two with one row, the greater one counts. */
  serials = new Float64Array(ROOM_FIRST)
  checksums = new Uint32Array(ROOM_FIRST)
  states = new Uint8Array(ROOM_FIRST)
  /** Whether the bytes are there, with their checksum. */
  written = new Uint8Array(ROOM_FIRST)
  #lives = new Uint32Array(ROOM_FIRST)
  #nextFree = new Uint32Array(ROOM_FIRST)
  #firstFree = NONE
  /** Rows that were used at least once. */
  count = 0

  take(): number {
    let row = this.#firstFree
    if (row === NONE) {
      row = this.count
      this.reach(row)
    } else this.#firstFree = this.#nextFree[row]!
    this.#lives[row] = (this.#lives[row]! + 1) % LIFE_SPAN
    this.states[row] = RowState.held
    this.written[row] = 0
    return row
  }

  giveBack(row: number): void {
    this.states[row] = RowState.free
    this.#nextFree[row] = this.#firstFree
    this.#firstFree = row
  }

  /** Makes room for a row that the index names. */
  reach(row: number): void {
    if (row < this.count) return
    this.count = row + 1
    if (row >= this.states.length) this.#grow(row + 1)
  }

  /** After the index was read: rows that nothing lives in are free, lowest first. */
  collectFree(): void {
    this.#firstFree = NONE
    for (let row = this.count - 1; row >= 0; row--) if (this.states[row] === RowState.free) this.giveBack(row)
  }

  allocationOf(row: number): TierAllocation {
    const byteLength = this.byteLengths[row]!
    return { id: this.#lives[row]! * ROW_SPAN + row, byteLength, takenBytes: roundUp(byteLength) }
  }

  /** @throws ERR_INVALID_PARAMS for an allocation that is not held */
  rowOf({ id, byteLength }: TierAllocation): number {
    const row = id % ROW_SPAN
    const state = this.states[row]
    const isHeld = row < this.count && (state === RowState.held || state === RowState.logged)
    if (isHeld && this.#lives[row] === Math.floor(id / ROW_SPAN) && this.byteLengths[row] === byteLength)
      return row
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `The allocation ${id} is not held: it was freed, or is of another tier`,
    )
  }

  #grow(rows: number): void {
    const length = Math.max(rows, this.states.length * 2)
    const grown = <T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from)
      return to
    }
    this.offsets = grown(this.offsets, new Float64Array(length))
    this.byteLengths = grown(this.byteLengths, new Float64Array(length))
    this.pieceIds = grown(this.pieceIds, new Float64Array(length))
    this.serials = grown(this.serials, new Float64Array(length))
    this.checksums = grown(this.checksums, new Uint32Array(length))
    this.states = grown(this.states, new Uint8Array(length))
    this.written = grown(this.written, new Uint8Array(length))
    this.#lives = grown(this.#lives, new Uint32Array(length))
    this.#nextFree = grown(this.#nextFree, new Uint32Array(length))
  }
}
