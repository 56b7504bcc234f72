import { loadAfter, storeBefore } from '@mooncake-ts/core'

/**
 * Where the objects of a node lie in its memory, for neighbours: processes of the same host, which map the table and
 * the memory for reading. A neighbour finds an object, copies it, and looks once more: where the epoch of the slot has
 * changed, the memory may be something else by now, and what was copied is thrown away (a sequence lock). So nobody
 * asks the owner, which is told of reads later. It is a hint: what is not here may well be there.
 *
 *      0 i32 beat       changes for as long as the owner's event loop turns
 *     64 i32 tags       one for each slot, by groups: a word of the key's hash
 *        slots of 256 bytes:
 *          0 i32 epoch        which object the slot is for; 0: none. Written last, and first when that is withdrawn
 *          4 i32 region
 *          8 f64 offset
 *         16 f64 byteLength
 *         24 f64 generation
 *         32 f64 checksum     −1: none
 *         40 i32 keyBytes
 *         64 key[192]         Latin-1
 */

const HEADER_INTS = 16
const SLOT_BYTES = 256
const SLOT_INTS = SLOT_BYTES / 4
const SLOT_DOUBLES = SLOT_BYTES / 8
/** Slots that a key may be in. */
const GROUP_SLOTS = 8
/** So that tags end where a slot may begin. */
const SLOTS_MIN = SLOT_BYTES / 4

/** One view of a Region spans at most 4 GiB. */
export const PLACES_MAX = 2 ** 23

const BEAT = 0
const EPOCH = 0
const REGION = 1
const OFFSET = 1
const BYTE_LENGTH = 2
const GENERATION = 3
const CHECKSUM = 4
const KEY_BYTES = 10
const KEY = 16
const EPOCH_MAX = 2 ** 31 - 1

/** Longer keys, and those with other characters, are asked for in the ordinary way. */
const KEY_BYTES_MAX = SLOT_BYTES - 4 * KEY
const LATIN1_MAX = 0xff

/** Where an object lies, and the epoch at which the table said so. */
export interface Place {
  readonly slot: number
  readonly epoch: number
  /** Among the owner's, by number. */
  readonly region: number
  readonly offset: number
  readonly byteLength: number
  readonly checksum: number | undefined
}

export interface PlacedObject {
  readonly key: string
  readonly generation: number
  readonly byteLength: number
  readonly checksum?: number | undefined
}

/** A power of two that has room for about that many. */
export function slotsFor(placesMax: number): number {
  return Math.max(SLOTS_MIN, 2 ** Math.floor(Math.log2(placesMax)))
}

/** The memory of a table. */
export function placeTableBytes(slotCount: number): number {
  return HEADER_INTS * 4 + slotCount * (4 + SLOT_BYTES)
}

/** The table as anybody sees it who has mapped it. */
export class PlaceReader {
  protected readonly ints: Int32Array
  protected readonly doubles: Float64Array
  protected readonly slotCount: number
  readonly #firstSlotBytes: number
  readonly #key = new Uint8Array(KEY_BYTES_MAX)
  protected readonly keyWords = new Int32Array(this.#key.buffer)
  /** Of the key that was looked for last. */
  protected hash = 0

  /** @param bytes all of the table, from a boundary of 8 bytes on */
  constructor(bytes: Uint8Array) {
    const { buffer, byteOffset, byteLength } = bytes
    this.slotCount = Math.floor((byteLength - HEADER_INTS * 4) / (4 + SLOT_BYTES))
    this.#firstSlotBytes = HEADER_INTS * 4 + this.slotCount * 4
    this.ints = new Int32Array(buffer, byteOffset, Math.floor(byteLength / 4))
    this.doubles = new Float64Array(buffer, byteOffset, Math.floor(byteLength / 8))
  }

  get beat(): number {
    return Atomics.load(this.ints, BEAT)
  }

  find(key: string): Place | undefined {
    const keyBytes = this.encode(key)
    if (keyBytes === 0) return undefined
    const first = this.firstOfGroup()
    for (let slot = first; slot < first + GROUP_SLOTS; slot++) {
      if (this.ints[HEADER_INTS + slot] !== this.hash) continue
      const place = this.#read(slot, keyBytes)
      if (place != null) return place
    }
    return undefined
  }

  /** It has not been withdrawn since it was found: what was read by now is what it was. */
  holds({ slot, epoch }: Place): boolean {
    return loadAfter(this.ints, this.intsOf(slot) + EPOCH) === epoch
  }

  /** Into `keyWords` and `hash`; gives the length, 0 for a key that no table has. */
  protected encode(key: string): number {
    const { length } = key
    if (length > KEY_BYTES_MAX) return 0
    let hash = 0x811c9dc5 // FNV-1a
    this.keyWords[(length - 1) >> 2] = 0 // What is left of the last word counts.
    for (let i = 0; i < length; i++) {
      const character = key.charCodeAt(i)
      if (character > LATIN1_MAX) return 0
      this.#key[i] = character
      hash = Math.imul(hash ^ character, 0x01000193)
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) // The low bits of FNV-1a alone are weak.
    this.hash = hash ^ (hash >>> 13) || 1 // 0 is the tag of a slot that was never used.
    return length
  }

  protected firstOfGroup(): number {
    return (this.hash >>> 1) & (this.slotCount - 1) & -GROUP_SLOTS
  }

  protected isKey(slot: number, keyBytes: number): boolean {
    const at = this.intsOf(slot)
    if (this.ints[at + KEY_BYTES] !== keyBytes) return false
    for (let word = 0; 4 * word < keyBytes; word++) {
      if (this.ints[at + KEY + word] !== this.keyWords[word]) return false
    }
    return true
  }

  protected intsOf(slot: number): number {
    return this.#firstSlotBytes / 4 + slot * SLOT_INTS
  }

  protected doublesOf(slot: number): number {
    return this.#firstSlotBytes / 8 + slot * SLOT_DOUBLES
  }

  #read(slot: number, keyBytes: number): Place | undefined {
    const [ints, doubles] = [this.intsOf(slot), this.doublesOf(slot)]
    const epoch = Atomics.load(this.ints, ints + EPOCH)
    if (epoch === 0 || !this.isKey(slot, keyBytes)) return undefined
    const checksum = this.doubles[doubles + CHECKSUM]!
    const place = {
      slot,
      epoch,
      region: this.ints[ints + REGION]!,
      offset: this.doubles[doubles + OFFSET]!,
      byteLength: this.doubles[doubles + BYTE_LENGTH]!,
      checksum: checksum < 0 ? undefined : checksum,
    }
    return this.holds(place) ? place : undefined
  }
}

/** The table of this process. */
export class PlaceTable extends PlaceReader {
  #epoch = 0
  /** Who goes next in a full group. */
  #turn = 0
  readonly #onEmptied: (slot: number, epoch: number) => void
  readonly #mayDisplace: (epoch: number) => boolean

  /**
   * @param onEmptied nobody believes any more what the slot said at this epoch, who has not said so before
   * @param mayDisplace whether another object may get the place of the one at this epoch
   */
  constructor(
    bytes: Uint8Array,
    onEmptied: (slot: number, epoch: number) => void = () => {},
    mayDisplace: (epoch: number) => boolean = () => true,
  ) {
    super(bytes)
    this.#onEmptied = onEmptied
    this.#mayDisplace = mayDisplace
  }

  beatOnce(): void {
    Atomics.add(this.ints, BEAT, 1)
  }

  /**
   * In the place of whatever the table said of the key before; of another object, where its group is full. Gives the
   * slot; undefined for a key that no table has, and where nobody may be displaced.
   */
  publish(
    { key, generation, byteLength, checksum }: PlacedObject,
    region: number,
    offset: number,
  ): number | undefined {
    const keyBytes = this.encode(key)
    if (keyBytes === 0) return undefined
    const slot = this.#slotOf(keyBytes) ?? this.#freeSlot()
    if (slot == null) return undefined
    const [ints, doubles] = [this.intsOf(slot), this.doublesOf(slot)]
    this.#empty(slot)
    this.ints[HEADER_INTS + slot] = this.hash
    this.ints[ints + REGION] = region
    this.ints[ints + KEY_BYTES] = keyBytes
    for (let word = 0; 4 * word < keyBytes; word++) this.ints[ints + KEY + word] = this.keyWords[word]!
    this.doubles[doubles + OFFSET] = offset
    this.doubles[doubles + BYTE_LENGTH] = byteLength
    this.doubles[doubles + GENERATION] = generation
    this.doubles[doubles + CHECKSUM] = checksum ?? -1
    this.#epoch = (this.#epoch % EPOCH_MAX) + 1
    Atomics.store(this.ints, ints + EPOCH, this.#epoch)
    return slot
  }

  epochOf(slot: number): number {
    return this.ints[this.intsOf(slot) + EPOCH]!
  }

  /** Nobody finds it any more, and what is being read of it will not be believed. */
  withdraw(key: string, generation: number): void {
    const slot = this.slotOf(key, generation)
    if (slot != null) this.#empty(slot)
  }

  withdrawAll(): void {
    for (let slot = 0; slot < this.slotCount; slot++) {
      // A look at the tag first: the slots of an empty table have no pages.
      if (this.ints[HEADER_INTS + slot] !== 0) this.#empty(slot)
    }
  }

  /** The only way in which an epoch ends. */
  #empty(slot: number): void {
    const at = this.intsOf(slot) + EPOCH
    const epoch = this.ints[at]!
    if (epoch === 0) return
    storeBefore(this.ints, at, 0)
    this.#onEmptied(slot, epoch)
  }

  /** The one that says something of the object. */
  slotOf(key: string, generation: number): number | undefined {
    const keyBytes = this.encode(key)
    const slot = keyBytes === 0 ? undefined : this.#slotOf(keyBytes)
    return slot != null && this.doubles[this.doublesOf(slot) + GENERATION] === generation ? slot : undefined
  }

  /** The one that says something of the key just encoded. */
  #slotOf(keyBytes: number): number | undefined {
    const first = this.firstOfGroup()
    for (let slot = first; slot < first + GROUP_SLOTS; slot++) {
      if (this.ints[HEADER_INTS + slot] !== this.hash) continue
      if (this.ints[this.intsOf(slot) + EPOCH] !== 0 && this.isKey(slot, keyBytes)) return slot
    }
    return undefined
  }

  #freeSlot(): number | undefined {
    const first = this.firstOfGroup()
    for (let slot = first; slot < first + GROUP_SLOTS; slot++) {
      if (this.ints[this.intsOf(slot) + EPOCH] === 0) return slot
    }
    for (let tries = 0; tries < GROUP_SLOTS; tries++) {
      this.#turn = (this.#turn + 1) % GROUP_SLOTS
      if (this.#mayDisplace(this.epochOf(first + this.#turn))) return first + this.#turn
    }
    return undefined
  }
}
