import { hashOf, KeyIndex } from './key-index.js'
import type { SegmentIndex } from './segment-index.js'

const NO_SEGMENT = 0xffff_ffff
const INITIAL_SLOTS = 64

export interface NewReplica {
  readonly byteLength: number
  readonly generation: number
  readonly segment: number
  /** Of a put, which keeps what is there. */
  readonly ifAbsent?: boolean
}

/** A replica beyond a key's first one. */
interface ExtraReplica {
  readonly segment: number
  stamp: number
}

/**
 * A part of the keys: an index from key to slot, and columns by slot. A column costs 4 or 8 bytes a key where
 * an object would cost a hundred. Nearly all keys have one replica; the others keep the rest in `#extras`. A
 * slot never moves while its key lives, so a scan can stop at a slot and go on later.
 */
export class RouteShard {
  #slots = new KeyIndex()
  readonly #extras = new Map<number, ExtraReplica[]>()
  readonly #index: SegmentIndex
  #free: number[] = []
  /** Slots in use or freed: scans go from 0 to here. */
  slotCount = 0
  #keys: Array<string | undefined> = []
  #segments = new Uint32Array(INITIAL_SLOTS)
  #stamps = new Uint32Array(INITIAL_SLOTS)
  #byteLengths = new Float64Array(INITIAL_SLOTS)
  #generations = new Float64Array(INITIAL_SLOTS)

  constructor(index: SegmentIndex) {
    this.#index = index
  }

  get keyCount(): number {
    return this.#slots.size
  }

  /** @param hash of the key, by `hashOf` */
  slotOf(key: string, hash: number): number | undefined {
    return this.#slots.find(key, hash, this.#keys)
  }

  /** Undefined for a slot that is not in use. */
  keyAt(slot: number): string | undefined {
    return this.#keys[slot]
  }

  byteLength(slot: number): number {
    return this.#byteLengths[slot]!
  }

  generation(slot: number): number {
    return this.#generations[slot]!
  }

  /** Whether any replica is in a segment of this state. */
  hasState(slot: number, state: number): boolean {
    const { states } = this.#index
    if (states[this.#segments[slot]!] === state) return true
    if (this.#extras.size === 0) return false
    return this.#extras.get(slot)?.some(extra => states[extra.segment] === state) ?? false
  }

  /** Segments of all replicas, in no order. */
  segmentsOf(slot: number): number[] {
    const first = this.#segments[slot]!
    const extras = this.#extras.get(slot)
    return extras == null ? [first] : [first, ...extras.map(extra => extra.segment)]
  }

  insert(key: string, hash: number, { byteLength, generation, segment }: NewReplica, stamp: number): void {
    const slot = this.#free.pop() ?? this.#extend()
    const own = flat(key)
    this.#keys[slot] = own
    this.#slots.insert(hash, slot)
    this.#byteLengths[slot] = byteLength
    this.#generations[slot] = generation
    this.#segments[slot] = segment
    this.#stamps[slot] = stamp
    this.#index.countReplica(segment, 1)
  }

  addReplica(slot: number, segment: number, stamp: number): void {
    const extras = this.#extras.get(slot)
    if (extras == null) this.#extras.set(slot, [{ segment, stamp }])
    else extras.push({ segment, stamp })
    this.#index.countReplica(segment, 1)
  }

  /** The replica was reported again. False where this segment has none. */
  touch(slot: number, segment: number, stamp: number): boolean {
    if (this.#segments[slot] === segment) {
      this.#stamps[slot] = stamp
      return true
    }
    const extra = this.#extras.get(slot)?.find(candidate => candidate.segment === segment)
    if (extra == null) return false
    extra.stamp = stamp
    return true
  }

  /** A newer generation takes the place of all replicas. */
  replace(slot: number, { byteLength, generation, segment }: NewReplica, stamp: number): void {
    for (const old of this.segmentsOf(slot)) this.#index.countReplica(old, -1)
    this.#extras.delete(slot)
    this.#byteLengths[slot] = byteLength
    this.#generations[slot] = generation
    this.#segments[slot] = segment
    this.#stamps[slot] = stamp
    this.#index.countReplica(segment, 1)
  }

  /**
   * Drops the replicas for which `drop` is true, and the key with its last one. Gives how many replicas went.
   */
  dropReplicas(slot: number, drop: (segment: number, stamp: number) => boolean): number {
    let dropped = 0
    const extras = this.#extras.get(slot)
    if (extras != null) {
      const kept = extras.filter(extra => !drop(extra.segment, extra.stamp))
      dropped = extras.length - kept.length
      if (dropped > 0) this.#setExtras(slot, extras, kept)
    }
    if (!drop(this.#segments[slot]!, this.#stamps[slot]!)) return dropped
    this.#index.countReplica(this.#segments[slot]!, -1)
    const heir = this.#extras.get(slot)?.pop()
    if (heir == null) this.#release(slot)
    else {
      this.#segments[slot] = heir.segment
      this.#stamps[slot] = heir.stamp
      if (this.#extras.get(slot)?.length === 0) this.#extras.delete(slot)
    }
    return dropped + 1
  }

  #setExtras(slot: number, before: readonly ExtraReplica[], kept: ExtraReplica[]): void {
    for (const extra of before) if (!kept.includes(extra)) this.#index.countReplica(extra.segment, -1)
    if (kept.length === 0) this.#extras.delete(slot)
    else this.#extras.set(slot, kept)
  }

  #release(slot: number): void {
    this.#slots.remove(hashOf(this.#keys[slot]!), slot)
    if (this.#slots.size === 0) {
      this.#reset()
      return
    }
    this.#keys[slot] = undefined
    this.#segments[slot] = NO_SEGMENT
    this.#free.push(slot)
  }

  /** An empty shard gives its memory back; this is how a cleared cluster shrinks. */
  #reset(): void {
    this.#slots = new KeyIndex()
    this.#free = []
    this.#keys = []
    this.slotCount = 0
    this.#segments = new Uint32Array(INITIAL_SLOTS)
    this.#stamps = new Uint32Array(INITIAL_SLOTS)
    this.#byteLengths = new Float64Array(INITIAL_SLOTS)
    this.#generations = new Float64Array(INITIAL_SLOTS)
  }

  #extend(): number {
    if (this.slotCount === this.#segments.length) {
      const slots = Math.ceil(this.slotCount * 1.25) + INITIAL_SLOTS
      this.#segments = copyInto(new Uint32Array(slots), this.#segments)
      this.#stamps = copyInto(new Uint32Array(slots), this.#stamps)
      this.#byteLengths = copyInto(new Float64Array(slots), this.#byteLengths)
      this.#generations = copyInto(new Float64Array(slots), this.#generations)
    }
    return this.slotCount++
  }
}

function copyInto<T extends Uint32Array | Float64Array>(to: T, from: T): T {
  to.set(from)
  return to
}

/**
 * A string that a decoder cut out of a message may keep the whole message alive. What is stored for long is
 * copied out of it: one pass over the bytes, at the first replica only.
 */
function flat(key: string): string {
  return Buffer.from(key, 'utf8').toString('utf8')
}
