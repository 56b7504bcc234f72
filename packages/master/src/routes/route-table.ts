import { setImmediate } from 'node:timers/promises'
import type { ReplicaAddResult } from '@mooncake-ts/core'
import { SLICE_ENTRIES } from '../limits.js'
import { hashOf } from './key-hash.js'
import { ABSENT, KeyIndex, LOAD_MAX } from './key-index.js'
import { KeyProbe, viewOf } from './key-probe.js'
import { RouteEntries, type NewReplica } from './route-entries.js'
import { DEAD, SegmentIndex, VISIBLE } from './segment-index.js'

export interface RouteTableOptions {
  /** Growing stops the event loop for one shard's keys, not for all. @defaultValue 256 */
  readonly shardCount?: number
  /** Node lives that may hold one key; 0: any number. @defaultValue 0 */
  readonly ownersPerKeyMax?: number
}

/** What the table knows of a key. */
export interface RouteEntry {
  readonly byteLength: number
  readonly generation: number
  readonly segments: readonly number[]
}

/** A replica that a newer generation has replaced. */
export interface Superseded {
  readonly key: string
  readonly segment: number
  readonly generation: number
}

/**
 * Shards fill evenly, so with one limit for all they would all grow within the same few batches, and stop the
 * event loop together.
 */
const LOAD_MIN = 0.5

/**
 * key → (byteLength, generation, replicas). All replicas of a key have one generation: a newer one replaces
 * the older ones, an older one is stale. Replicas are named by segment numbers; whether a segment is served
 * is looked up at every read, so a node can vanish from all routes in no time and be swept from memory later.
 */
export class RouteTable {
  readonly segments = new SegmentIndex()
  readonly #entries: RouteEntries
  readonly #shards: readonly KeyIndex[]
  readonly #probe = new KeyProbe()
  readonly #ownersPerKeyMax: number
  /** Of `hasMany`, used again. */
  #hashes = new Uint32Array(0)
  #references = new Uint32Array(0)
  #keyCount = 0
  /** What `hasMany` has read in advance. Nobody needs it, but what nobody could see would not be read. */
  touched = 0

  constructor({ shardCount = 256, ownersPerKeyMax = 0 }: RouteTableOptions = {}) {
    this.#entries = new RouteEntries(this.segments)
    this.#shards = Array.from(
      { length: shardCount },
      (_, i) => new KeyIndex(LOAD_MIN + ((LOAD_MAX - LOAD_MIN) * i) / shardCount),
    )
    this.#ownersPerKeyMax = ownersPerKeyMax
  }

  /** Includes keys of silent nodes, and of crashed ones until they are swept. */
  get keyCount(): number {
    return this.#keyCount
  }

  /** Whether somebody who is healthy has the key. */
  has(key: string | KeyProbe): boolean {
    const reference = this.#referenceOf(this.#probeOf(key))
    return reference !== ABSENT && this.#entries.hasState(reference, VISIBLE)
  }

  /**
   * As `has`, for keys of UTF-8 that lie one after another. In passes: each place of a large table is a miss
   * of the processor's cache, and only a pass that does nothing but read lets it wait for many at a time.
   * Measured at a million keys: a third of the time of one key after another.
   *
   * @param lengths bytes of each key
   * @param present gets a bit for each key, the lowest of a byte first
   */
  hasMany(keys: Uint8Array, lengths: ArrayLike<number>, present: Uint8Array): void {
    const count = lengths.length
    this.#reserve(count)
    const [bytes, hashes, references] = [viewOf(keys), this.#hashes, this.#references]
    for (let i = 0, start = 0; i < count; i++) {
      const end = start + lengths[i]!
      hashes[i] = hashOf(bytes, start, end)
      start = end
    }
    for (let i = 0; i < count; i++) this.#touch(hashes[i]!)
    for (let i = 0; i < count; i++) references[i] = this.#shardOf(hashes[i]!).first(hashes[i]!)
    const { arena } = this.#entries
    for (let i = 0; i < count; i++) {
      if (references[i] !== ABSENT) this.touched ^= arena.touch(references[i]!)
    }
    const probe = this.#probe
    for (let i = 0, start = 0; i < count; i++) {
      const end = start + lengths[i]!
      const reference = references[i]!
      if (reference !== ABSENT) {
        probe.set(bytes, start, end, hashes[i]!)
        const same = arena.holds(reference, probe)
        // Another key may have the same hash: then it is looked for again, one by one.
        const isThere = same ? this.#entries.hasState(reference, VISIBLE) : this.has(probe)
        if (isThere) present[i >> 3]! |= 1 << (i & 7)
      }
      start = end
    }
  }

  /** The replicas that are served; undefined where there are none. */
  find(key: string | KeyProbe): RouteEntry | undefined {
    return this.#entry(key, state => state === VISIBLE)
  }

  /** As `find`, with those of silent nodes. */
  findAll(key: string): RouteEntry | undefined {
    return this.#entry(key, state => state !== DEAD)
  }

  /**
   * Of puts that race, the one that comes first stays, whichever was numbered first: it may have been read
   * already. Where only silent nodes have a value, or the reporting node itself had one, the new one takes its
   * place.
   *
   * @param stamp the sequence number of the report, for `dropReplicas`
   * @param superseded gets the replicas that this one replaces
   */
  add(
    key: string | KeyProbe,
    replica: NewReplica,
    stamp: number,
    superseded: Superseded[],
  ): ReplicaAddResult {
    const { generation, segment, ifAbsent } = replica
    const probe = this.#probeOf(key)
    const reference = this.#liveReference(probe)
    const entries = this.#entries
    if (reference === ABSENT) {
      this.#shardOf(probe.hash).insert(probe.hash, entries.insert(probe, replica, stamp))
      this.#keyCount++
      return 'ok'
    }
    const known = entries.arena.generation(reference)
    if (generation < known) return 'stale'
    if (generation > known) {
      if (ifAbsent === true && this.#isServedByOthers(reference, segment)) return 'stale'
      const text = probe.text()
      for (const old of entries.segmentsOf(reference))
        superseded.push({ key: text, segment: old, generation: known })
      entries.replace(reference, replica, stamp)
      return 'ok'
    }
    if (entries.touch(reference, segment, stamp)) return 'ok'
    if (!this.#mayOwn(entries.segmentsOf(reference), segment)) return 'exceeded'
    entries.addReplica(reference, segment, stamp)
    return 'ok'
  }

  /** Ignored where a newer generation is known. */
  remove(key: string | KeyProbe, segment: number, generation: number): boolean {
    return this.#dropUpTo(key, generation, candidate => candidate === segment)
  }

  /** Drops what one node's life holds of the key, up to a generation. */
  removeOwner(key: string, owner: number, generationMax: number): boolean {
    return this.#dropUpTo(key, generationMax, segment => this.segments.owner(segment) === owner)
  }

  /**
   * Drops the replicas for which `drop` is true. To be called from a scan, with what it gives.
   * @returns how many
   */
  dropReplicas(reference: number, drop: (segment: number, stamp: number) => boolean): number {
    const dropped = this.#entries.dropReplicas(reference, drop)
    if (this.#entries.isEmpty(reference)) {
      const hash = this.#entries.arena.hash(reference)
      this.#shardOf(hash).remove(hash, reference)
      this.#entries.arena.free(reference)
      this.#keyCount--
    }
    return dropped
  }

  /** Of what a scan gives. */
  keyOf(reference: number): string {
    return this.#entries.arena.key(reference)
  }

  /** Of what a scan gives. */
  generationOf(reference: number): number {
    return this.#entries.arena.generation(reference)
  }

  /**
   * Visits every key, in slices with room for the event loop between them. What is there all the time is seen
   * once; what comes or goes meanwhile may be seen or not.
   *
   * @param sliceEnd called before the event loop goes on, and at the end; false: that was enough
   */
  async scan(visit: (reference: number) => void, sliceEnd: () => boolean = () => true): Promise<void> {
    const { arena } = this.#entries
    const { era } = arena
    for (let next = 0; next < arena.end && arena.era === era;) {
      next = arena.visit(next, SLICE_ENTRIES, visit)
      if (!sliceEnd()) return
      await setImmediate()
    }
  }

  /** Frees what dead segments hold. */
  async sweep(): Promise<void> {
    const isDead = (segment: number): boolean => this.segments.states[segment] === DEAD
    const dying: number[] = []
    while (this.segments.hasDying()) {
      const { arena } = this.#entries
      const { era } = arena
      for (let next = 0; next < arena.end && arena.era === era && this.segments.hasDying();) {
        next = this.#entries.visitState(next, SLICE_ENTRIES, DEAD, reference => dying.push(reference))
        // Read in advance, as in `hasMany`: most of the time of a removal is a miss of the cache.
        for (const reference of dying) this.#touch(arena.hash(reference))
        for (const reference of dying.splice(0)) this.dropReplicas(reference, isDead)
        await setImmediate()
      }
    }
  }

  /**
   * Keys that are served, from `cursor` on (0 at first); no cursor in the answer: that was the last page.
   * Bounded work.
   */
  page(
    cursor: number,
    keysMax: number,
    prefix: string,
  ): { readonly keys: string[]; readonly cursor?: number } {
    const { arena } = this.#entries
    const keys: string[] = []
    let next = arena.align(cursor)
    for (let budget = SLICE_ENTRIES * 4; next < arena.end;) {
      const entries = Math.min(budget, keysMax - keys.length)
      if (entries === 0) return { keys, cursor: next }
      next = arena.visit(next, entries, reference => {
        if (!this.#entries.hasState(reference, VISIBLE)) return
        const key = arena.key(reference)
        if (key.startsWith(prefix)) keys.push(key)
      })
      budget -= entries
    }
    return { keys }
  }

  #entry(key: string | KeyProbe, counts: (state: number) => boolean): RouteEntry | undefined {
    const reference = this.#referenceOf(this.#probeOf(key))
    if (reference === ABSENT) return undefined
    const { states } = this.segments
    const { arena } = this.#entries
    const segments = this.#entries.segmentsOf(reference).filter(segment => counts(states[segment]!))
    if (segments.length === 0) return undefined
    return { byteLength: arena.byteLength(reference), generation: arena.generation(reference), segments }
  }

  /** `ABSENT` where there is none. */
  #referenceOf(probe: KeyProbe): number {
    const shard = this.#shardOf(probe.hash)
    for (let bucket = shard.find(probe.hash); bucket >= 0; bucket = shard.find(probe.hash, bucket + 1)) {
      const reference = shard.reference(bucket)
      if (this.#entries.arena.holds(reference, probe)) return reference
    }
    return ABSENT
  }

  /** Of a key that is not only a memory of crashed nodes. */
  #liveReference(probe: KeyProbe): number {
    const reference = this.#referenceOf(probe)
    if (reference === ABSENT || !this.#entries.hasState(reference, DEAD)) return reference
    this.dropReplicas(reference, segment => this.segments.states[segment] === DEAD)
    return this.#referenceOf(probe)
  }

  /** Of its own replica the reporting node knows better: it has none, or it would not have taken another. */
  #isServedByOthers(reference: number, segment: number): boolean {
    const { segments } = this
    if (!this.#entries.hasState(reference, VISIBLE)) return false
    const owner = segments.owner(segment)
    return this.#entries
      .segmentsOf(reference)
      .some(other => segments.states[other] === VISIBLE && segments.owner(other) !== owner)
  }

  #mayOwn(present: readonly number[], segment: number): boolean {
    if (this.#ownersPerKeyMax === 0) return true
    const owners = new Set(present.map(other => this.segments.owner(other)))
    return owners.has(this.segments.owner(segment)) || owners.size < this.#ownersPerKeyMax
  }

  #dropUpTo(key: string | KeyProbe, generationMax: number, drop: (segment: number) => boolean): boolean {
    const reference = this.#referenceOf(this.#probeOf(key))
    if (reference === ABSENT || this.generationOf(reference) > generationMax) return false
    return this.dropReplicas(reference, drop) > 0
  }

  /** Only reads where a look-up will begin, so that it is in the cache then. */
  #touch(hash: number): void {
    this.touched ^= this.#shardOf(hash).touch(hash)
  }

  #reserve(count: number): void {
    if (this.#hashes.length >= count) return
    this.#hashes = new Uint32Array(count)
    this.#references = new Uint32Array(count)
  }

  /** Good until the next call. */
  #probeOf(key: string | KeyProbe): KeyProbe {
    return typeof key === 'string' ? this.#probe.ofText(key) : key
  }

  /** By the high bits: the low ones choose a bucket within the shard. */
  #shardOf(hash: number): KeyIndex {
    return this.#shards[Math.floor((hash * this.#shards.length) / 2 ** 32)]!
  }
}
