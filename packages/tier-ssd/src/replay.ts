import type { OffsetAllocator } from '@mooncake-ts/core'
import type { RecordCursor } from './index-record.js'
import { BLOCK_BYTES, roundUp } from './io.js'
import { RowState, type ObjectRows } from './object-rows.js'
import { sortRows } from './sort-rows.js'

/** What of a record is not its own fields, in the size of an index. */
const LIVE_RECORD_BYTES = 128

/** Makes rows and places out of the records of an index. */
export class Replay {
  readonly #rows: ObjectRows
  readonly #allocator: OffsetAllocator
  /** The greatest number of a record that was met. */
  lastSerial = 0
  /** Objects that other ones lie over, or that lie outside of the range. */
  dropped = 0
  objects = 0

  constructor(rows: ObjectRows, allocator: OffsetAllocator) {
    this.#rows = rows
    this.#allocator = allocator
  }

  /** Of two records of one row the one with the greater number counts, wherever they stand. */
  readonly onRecord = (record: RecordCursor): void => {
    const rows = this.#rows
    const { row, serial, isAdd } = record
    rows.reach(row)
    if (serial < rows.serials[row]! || (isAdd && serial === rows.serials[row])) return
    this.lastSerial = Math.max(this.lastSerial, serial)
    rows.serials[row] = serial
    if (!isAdd) {
      rows.states[row] = RowState.free
      return
    }
    rows.states[row] = RowState.found
    rows.written[row] = 1
    rows.offsets[row] = record.offset
    rows.byteLengths[row] = record.byteLength
    rows.checksums[row] = record.checksum
  }

  /** Bytes of the records that count, roughly. */
  get liveBytes(): number {
    return this.objects * LIVE_RECORD_BYTES
  }

  /** Takes the places of what was found. */
  finish(): void {
    const rows = this.#rows
    for (const row of this.#places()) {
      const piece = this.#allocator.hold(rows.offsets[row]!, rows.byteLengths[row]!)
      rows.pieceIds[row] = piece.id
    }
    rows.collectFree()
    for (let row = 0; row < rows.count; row++) if (rows.states[row] === RowState.found) this.objects++
  }

  /**
   * Objects by their place, without those that a newer one lies over. There are such only where records were
   * lost: that of the removal of the older one among them.
   */
  #places(): readonly number[] {
    const rows = this.#rows
    const kept: number[] = []
    for (const row of sortRows(this.#found(), row => rows.offsets[row]! / BLOCK_BYTES)) {
      let wins = true
      for (
        let last = kept.at(-1);
        wins && last != null && this.#endOf(last) > rows.offsets[row]!;
        last = kept.at(-1)
      ) {
        wins = rows.serials[last]! < rows.serials[row]!
        if (wins) this.#drop(kept.pop()!)
      }
      if (wins) kept.push(row)
      else this.#drop(row)
    }
    return kept
  }

  #found(): Uint32Array {
    const rows = this.#rows
    const found = new Uint32Array(rows.count)
    let count = 0
    for (let row = 0; row < rows.count; row++) {
      if (rows.states[row] !== RowState.found || rows.byteLengths[row] === 0) continue
      if (this.#endOf(row) <= this.#allocator.capacityBytes) found[count++] = row
      else this.#drop(row)
    }
    return found.subarray(0, count)
  }

  #endOf(row: number): number {
    return this.#rows.offsets[row]! + roundUp(this.#rows.byteLengths[row]!)
  }

  #drop(row: number): void {
    this.#rows.states[row] = RowState.free
    this.dropped++
  }
}
