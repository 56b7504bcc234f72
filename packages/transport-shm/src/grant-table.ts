/**
 * The windows of one process, in memory that its peers map for reading: so a peer learns without a message
 * whether it may read, and, when it has read, whether it still might. One slot of 64 bytes for each:
 *
 *      0 i32 epoch        which exposure the slot is for; 0: none. Written last, and first when it is revoked
 *      4 i32 access       1 read, 2 write, 3 both
 *      8 i32 token[4]
 *     32 f64 regionId     0: memory that cannot be mapped
 *     40 f64 offset       in the region
 *     48 f64 byteLength
 *
 * Slot 0 is for the table itself: its epoch is 1 from the stop of the owner on.
 *
 * A reader loads the epoch, copies, and loads the epoch again: where it has changed, the range was revoked
 * and may be something else by now, so what was copied is thrown away (a sequence lock). No process writes to
 * memory of another, so one that is killed or stopped in the middle of a copy holds up nobody.
 */
import { randomBytes } from 'node:crypto'
import { loadAfter, storeBefore, type Access } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'

const SLOT_BYTES = 64
const SLOT_INTS = SLOT_BYTES / 4
const SLOT_DOUBLES = SLOT_BYTES / 8

const EPOCH = 0
const ACCESS = 1
const TOKEN = 2
const TOKEN_INTS = 4
const REGION_ID = 4
const OFFSET = 5
const BYTE_LENGTH = 6
const EPOCH_MAX = 2 ** 31 - 1

/** A window's key: u32 slot, i32 token[4]. */
export const KEY_BYTES = 20
/** The slot of a window that this transport could not expose. */
export const NO_SLOT = 0xffffffff
/** Stands for memory without a descriptor, such as a caller's own buffer. */
export const PRIVATE_REGION = 0

const ACCESS_BITS: Readonly<Record<Access, number>> = { read: 1, write: 2, readwrite: 3 }

export interface GrantedRange {
  readonly regionId: number
  readonly offset: number
  readonly byteLength: number
  readonly access: Access
}

/** What a slot says, and the epoch at which it said so. */
export interface FoundGrant {
  readonly slot: number
  readonly epoch: number
  readonly accessBits: number
  readonly regionId: number
  readonly offset: number
  readonly byteLength: number
}

/** Overflow-safe: `offset + byteLength` could lose its low bits. */
export function allows(
  grant: FoundGrant,
  kind: 'read' | 'write',
  offset: number,
  byteLength: number,
): boolean {
  if ((grant.accessBits & ACCESS_BITS[kind]) === 0) return false
  return offset <= grant.byteLength && byteLength <= grant.byteLength - offset
}

const TABLE_SLOT = 0

/** The memory of a table for that many exposures at a time. */
export function tableBytes(grantsMax: number): number {
  return (grantsMax + 1) * SLOT_BYTES
}

/** The table as anybody sees it who has mapped it. */
export class GrantReader {
  protected readonly ints: Int32Array
  protected readonly doubles: Float64Array
  readonly slotCount: number

  /** Keeps the memory, also when the region is closed. */
  constructor(table: HostRegion) {
    const { buffer, byteLength } = table.view(0, table.byteLength)
    this.slotCount = Math.floor(byteLength / SLOT_BYTES)
    this.ints = new Int32Array(buffer, 0, this.slotCount * SLOT_INTS)
    this.doubles = new Float64Array(buffer, 0, this.slotCount * SLOT_DOUBLES)
  }

  /** What a key names, if it is exposed. */
  find(key: Uint8Array): FoundGrant | undefined {
    const view = new DataView(key.buffer, key.byteOffset, key.byteLength)
    const slot = view.getUint32(0, true)
    if (slot === TABLE_SLOT || slot >= this.slotCount) return undefined
    const at = slot * SLOT_INTS
    const epoch = Atomics.load(this.ints, at + EPOCH)
    let difference = 0
    for (let i = 0; i < TOKEN_INTS; i++)
      difference |= this.ints[at + TOKEN + i]! ^ view.getInt32(4 + 4 * i, true)
    if (epoch === 0 || difference !== 0) return undefined
    const place = slot * SLOT_DOUBLES
    const found = {
      slot,
      epoch,
      accessBits: this.ints[at + ACCESS]!,
      regionId: this.doubles[place + REGION_ID]!,
      offset: this.doubles[place + OFFSET]!,
      byteLength: this.doubles[place + BYTE_LENGTH]!,
    }
    return this.holds(found) ? found : undefined
  }

  /** The owner exposes nothing any more. */
  get stopped(): boolean {
    return Atomics.load(this.ints, TABLE_SLOT) !== 0
  }

  /** It has not been revoked since it was found: what was read by now is what was exposed. */
  holds({ slot, epoch }: FoundGrant): boolean {
    return loadAfter(this.ints, slot * SLOT_INTS + EPOCH) === epoch
  }
}

/** The table of this process. */
export class GrantTable extends GrantReader {
  readonly #free: number[] = []
  #used = 1
  #epoch = 0
  readonly #tokens = new RandomWords()

  /** A key, or undefined where every slot is taken. */
  open(range: GrantedRange): Uint8Array | undefined {
    const slot = this.#free.pop() ?? (this.#used < this.slotCount ? this.#used++ : undefined)
    if (slot == null) return undefined
    this.#epoch = (this.#epoch % EPOCH_MAX) + 1
    const key = new Uint8Array(KEY_BYTES)
    const view = new DataView(key.buffer)
    view.setUint32(0, slot, true)
    const at = slot * SLOT_INTS
    for (let i = 0; i < TOKEN_INTS; i++) {
      const word = this.#tokens.next()
      this.ints[at + TOKEN + i] = word
      view.setInt32(4 + 4 * i, word, true)
    }
    this.ints[at + ACCESS] = ACCESS_BITS[range.access]
    const place = slot * SLOT_DOUBLES
    this.doubles[place + REGION_ID] = range.regionId
    this.doubles[place + OFFSET] = range.offset
    this.doubles[place + BYTE_LENGTH] = range.byteLength
    Atomics.store(this.ints, at + EPOCH, this.#epoch)
    return key
  }

  stop(): void {
    Atomics.store(this.ints, TABLE_SLOT, 1)
  }

  /** Nobody finds it any more, and what is being read of it will not be believed. */
  shut(key: Uint8Array): void {
    const slot = new DataView(key.buffer, key.byteOffset).getUint32(0, true)
    storeBefore(this.ints, slot * SLOT_INTS + EPOCH, 0)
    this.#free.push(slot)
  }
}

/** A key that no slot stands behind, for what this transport cannot expose. */
export function unreachableKey(): Uint8Array {
  const key = randomBytes(KEY_BYTES)
  key.writeUInt32LE(NO_SLOT, 0)
  return key
}

/** Random numbers by the page: one call for each would cost more than all else in an exposure. */
class RandomWords {
  #words = new Int32Array(0)
  #next = 0

  next(): number {
    if (this.#next === this.#words.length) {
      this.#words = new Int32Array(new Uint8Array(randomBytes(4096)).buffer)
      this.#next = 0
    }
    return this.#words[this.#next++]!
  }
}
