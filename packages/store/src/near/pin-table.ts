import { storeBefore } from '@mooncake-ts/core'

/**
 * Places in the table of one neighbour that this process looks at, in memory that the neighbour maps for reading:
 * hazard pointers (M. Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", 2004) between
 * processes. The reader stores its pin, then loads the epoch of the place; the owner empties the place, then loads the
 * pins. Both have a fence in between, so at least one of them sees what the other did: either the reader learns that
 * the object went, or the owner that it has to keep the memory. An epoch names a place: no two objects of a table have
 * the same.
 *
 *      0 i32 beat       changes for as long as the reader keeps its pins
 *     64 i32 pins       epochs by groups; 0: free
 */

const HEADER_INTS = 16
/** A cache line: what an owner has to look at for each object that goes. */
const GROUP_PINS = 16
const BEAT = 0

/** Of one reader at one owner. In a group that is full a view is asked for in the ordinary way. */
const PINS_MAX = 65_536
export const PIN_TABLE_BYTES = 4 * (HEADER_INTS + PINS_MAX)

/** Within less a process is easily late: an owner whose leases are shorter is asked for each view. */
export const PIN_LEASE_MS_MIN = 1000

/** The table as the owner of the objects sees it, who believes nothing of it but what is pinned. */
export class PinReader {
  protected readonly ints: Int32Array
  readonly #groupCount: number

  /** @param bytes all of the table, from a boundary of 4 bytes on; a power of two of groups */
  constructor({ buffer, byteOffset, byteLength }: Uint8Array) {
    this.ints = new Int32Array(buffer, byteOffset, Math.floor(byteLength / 4))
    this.#groupCount = Math.floor((this.ints.length - HEADER_INTS) / GROUP_PINS)
  }

  get beat(): number {
    return Atomics.load(this.ints, BEAT)
  }

  has(epoch: number): boolean {
    return this.indexOf(epoch, epoch) != null
  }

  /** In the group of the epoch, of a word. */
  protected indexOf(epoch: number, word: number): number | undefined {
    // Epochs follow each other: their multiples of the golden ratio are spread evenly.
    const group = (Math.imul(epoch, 0x9e3779b1) >>> 16) & (this.#groupCount - 1)
    const first = HEADER_INTS + group * GROUP_PINS
    for (let index = first; index < first + GROUP_PINS; index++) {
      if (Atomics.load(this.ints, index) === word) return index
    }
    return undefined
  }
}

/** The table of this process. */
export class PinTable extends PinReader {
  beatOnce(): void {
    Atomics.add(this.ints, BEAT, 1)
  }

  /** What is loaded afterwards is loaded after the owner could see the pin. False where the group is full. */
  add(epoch: number): boolean {
    const index = this.indexOf(epoch, 0)
    if (index == null) return false
    storeBefore(this.ints, index, epoch)
    return true
  }

  delete(epoch: number): void {
    const index = this.indexOf(epoch, epoch)
    if (index != null) Atomics.store(this.ints, index, 0)
  }
}
