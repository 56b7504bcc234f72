import type { KeyProbe } from './key-probe.js'
import { RouteArena } from './route-arena.js'
import type { SegmentIndex } from './segment-index.js'

export interface NewReplica {
  readonly byteLength: number
  readonly generation: number
  readonly segment: number
  /** Of a put, which keeps what is there. */
  readonly ifAbsent?: boolean
}

/** Of an entry whose last replica was dropped. */
const NO_SEGMENT = 0xffff_ffff

/** Maps of V8 end at 2^24 entries, and stop everything for long when a large one grows. */
const EXTRAS_MAPS = 256

/** A replica beyond a key's first one. */
interface ExtraReplica {
  readonly segment: number
  stamp: number
}

/**
 * What is known of each key, by reference. Nearly all keys have one replica; the others keep the rest in maps
 * beside. An entry never moves while its key lives, so a scan can stop at one and go on later.
 */
export class RouteEntries {
  readonly arena = new RouteArena()
  readonly #extras = Array.from({ length: EXTRAS_MAPS }, () => new Map<number, ExtraReplica[]>())
  readonly #index: SegmentIndex

  constructor(index: SegmentIndex) {
    this.#index = index
  }

  /** Whether any replica is in a segment of this state. The entry is in use. */
  hasState(reference: number, state: number): boolean {
    const { states } = this.#index
    if (states[this.arena.segment(reference)] === state) return true
    return (
      this.#extrasOf(reference)
        .get(reference)
        ?.some(extra => states[extra.segment] === state) ?? false
    )
  }

  /** Segments of all replicas, in no order. */
  segmentsOf(reference: number): number[] {
    const first = this.arena.segment(reference)
    const extras = this.#extrasOf(reference).get(reference)
    return extras == null ? [first] : [first, ...extras.map(extra => extra.segment)]
  }

  /** @returns the reference of the new entry */
  insert(probe: KeyProbe, replica: NewReplica, stamp: number): number {
    const reference = this.arena.allocate(probe)
    this.#describe(reference, replica, stamp)
    return reference
  }

  addReplica(reference: number, segment: number, stamp: number): void {
    const extras = this.#extrasOf(reference).get(reference)
    if (extras == null) this.#extrasOf(reference).set(reference, [{ segment, stamp }])
    else extras.push({ segment, stamp })
    this.#index.countReplica(segment, 1)
  }

  /** The replica was reported again. False where this segment has none. */
  touch(reference: number, segment: number, stamp: number): boolean {
    if (this.arena.segment(reference) === segment) {
      this.arena.setPlace(reference, segment, stamp)
      return true
    }
    const extra = this.#extrasOf(reference)
      .get(reference)
      ?.find(candidate => candidate.segment === segment)
    if (extra == null) return false
    extra.stamp = stamp
    return true
  }

  /** A newer generation takes the place of all replicas. */
  replace(reference: number, replica: NewReplica, stamp: number): void {
    for (const old of this.segmentsOf(reference)) this.#index.countReplica(old, -1)
    this.#extrasOf(reference).delete(reference)
    this.#describe(reference, replica, stamp)
  }

  /**
   * Drops the replicas for which `drop` is true. Gives how many went; the caller frees an entry without any.
   */
  dropReplicas(reference: number, drop: (segment: number, stamp: number) => boolean): number {
    let dropped = 0
    const extras = this.#extrasOf(reference).get(reference)
    if (extras != null) {
      const kept = extras.filter(extra => !drop(extra.segment, extra.stamp))
      dropped = extras.length - kept.length
      if (dropped > 0) this.#setExtras(reference, extras, kept)
    }
    const segment = this.arena.segment(reference)
    if (!drop(segment, this.arena.stamp(reference))) return dropped
    this.#index.countReplica(segment, -1)
    const heir = this.#extrasOf(reference).get(reference)?.pop()
    if (heir == null) this.arena.setPlace(reference, NO_SEGMENT, 0)
    else {
      this.arena.setPlace(reference, heir.segment, heir.stamp)
      if (this.#extrasOf(reference).get(reference)?.length === 0) this.#extrasOf(reference).delete(reference)
    }
    return dropped + 1
  }

  isEmpty(reference: number): boolean {
    return this.arena.segment(reference) === NO_SEGMENT
  }

  #setExtras(reference: number, before: readonly ExtraReplica[], kept: ExtraReplica[]): void {
    for (const extra of before) if (!kept.includes(extra)) this.#index.countReplica(extra.segment, -1)
    if (kept.length === 0) this.#extrasOf(reference).delete(reference)
    else this.#extrasOf(reference).set(reference, kept)
  }

  #extrasOf(reference: number): Map<number, ExtraReplica[]> {
    return this.#extras[this.arena.hash(reference) % EXTRAS_MAPS]!
  }

  #describe(reference: number, { byteLength, generation, segment }: NewReplica, stamp: number): void {
    this.arena.setPlace(reference, segment, stamp)
    this.arena.setObject(reference, byteLength, generation)
    this.#index.countReplica(segment, 1)
  }
}
