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

const NO_EXTRAS: readonly ExtraReplica[] = []

/**
 * What is known of each key, by reference. Nearly all keys have one replica; the others keep the rest in maps
 * beside. An entry never moves while its key lives, so a scan can stop at one and go on later.
 */
export class RouteEntries {
  readonly arena = new RouteArena()
  readonly #extras = Array.from({ length: EXTRAS_MAPS }, () => new Map<number, readonly ExtraReplica[]>())
  readonly #index: SegmentIndex
  /** Keys that have any: while there are none, nobody looks. */
  #extrasCount = 0

  constructor(index: SegmentIndex) {
    this.#index = index
  }

  /** Whether any replica is in a segment of this state. The entry is in use. */
  hasState(reference: number, state: number): boolean {
    const { states } = this.#index
    if (states[this.arena.segment(reference)] === state) return true
    return this.#extrasOf(reference).some(extra => states[extra.segment] === state)
  }

  /** Segments of all replicas, in no order. */
  segmentsOf(reference: number): number[] {
    const first = this.arena.segment(reference)
    return [first, ...this.#extrasOf(reference).map(extra => extra.segment)]
  }

  /** @returns the reference of the new entry */
  insert(probe: KeyProbe, replica: NewReplica, stamp: number): number {
    const reference = this.arena.allocate(probe)
    this.#describe(reference, replica, stamp)
    return reference
  }

  addReplica(reference: number, segment: number, stamp: number): void {
    this.#setExtras(reference, [...this.#extrasOf(reference), { segment, stamp }])
    this.#index.countReplica(segment, 1)
  }

  /** The replica was reported again. False where this segment has none. */
  touch(reference: number, segment: number, stamp: number): boolean {
    if (this.arena.segment(reference) === segment) {
      this.arena.setPlace(reference, segment, stamp)
      return true
    }
    const extra = this.#extrasOf(reference).find(candidate => candidate.segment === segment)
    if (extra == null) return false
    extra.stamp = stamp
    return true
  }

  /** A newer generation takes the place of all replicas. */
  replace(reference: number, replica: NewReplica, stamp: number): void {
    for (const old of this.segmentsOf(reference)) this.#index.countReplica(old, -1)
    this.#setExtras(reference, [])
    this.#describe(reference, replica, stamp)
  }

  /**
   * Drops the replicas for which `drop` is true. Gives how many went; the caller frees an entry without any.
   */
  dropReplicas(reference: number, drop: (segment: number, stamp: number) => boolean): number {
    const extras = this.#extrasOf(reference)
    if (extras.length === 0) return this.#dropOnly(reference, drop)
    const kept = extras.filter(extra => !drop(extra.segment, extra.stamp))
    const gone = extras.filter(extra => !kept.includes(extra)).map(extra => extra.segment)
    const first = this.arena.segment(reference)
    if (drop(first, this.arena.stamp(reference))) {
      gone.push(first)
      const heir = kept.pop()
      this.arena.setPlace(reference, heir?.segment ?? NO_SEGMENT, heir?.stamp ?? 0)
    }
    for (const segment of gone) this.#index.countReplica(segment, -1)
    if (kept.length < extras.length) this.#setExtras(reference, kept)
    return gone.length
  }

  /**
   * Visits, as `RouteArena.visit`, the entries with a replica in a segment of this state. The visitor must not free
   * what it visits.
   */
  visitState(from: number, entriesMax: number, state: number, visit: (reference: number) => void): number {
    if (this.#extrasCount === 0) {
      return this.arena.visitSegments(from, entriesMax, this.#index.states, state, visit)
    }
    return this.arena.visit(from, entriesMax, reference => {
      if (this.hasState(reference, state)) visit(reference)
    })
  }

  isEmpty(reference: number): boolean {
    return this.arena.segment(reference) === NO_SEGMENT
  }

  #dropOnly(reference: number, drop: (segment: number, stamp: number) => boolean): number {
    const segment = this.arena.segment(reference)
    if (!drop(segment, this.arena.stamp(reference))) return 0
    this.arena.setPlace(reference, NO_SEGMENT, 0)
    this.#index.countReplica(segment, -1)
    return 1
  }

  #setExtras(reference: number, extras: readonly ExtraReplica[]): void {
    const map = this.#extras[this.arena.hash(reference) % EXTRAS_MAPS]!
    this.#extrasCount -= map.size
    if (extras.length === 0) map.delete(reference)
    else map.set(reference, extras)
    this.#extrasCount += map.size
  }

  #extrasOf(reference: number): readonly ExtraReplica[] {
    if (this.#extrasCount === 0) return NO_EXTRAS
    return this.#extras[this.arena.hash(reference) % EXTRAS_MAPS]!.get(reference) ?? NO_EXTRAS
  }

  #describe(reference: number, { byteLength, generation, segment }: NewReplica, stamp: number): void {
    this.arena.setPlace(reference, segment, stamp)
    this.arena.setObject(reference, byteLength, generation)
    this.#index.countReplica(segment, 1)
  }
}
