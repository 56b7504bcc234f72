import { setImmediate } from 'node:timers/promises'
import type { ReplicaAddResult } from '@mooncake-ts/core'
import { SLICE_SLOTS } from '../limits.js'
import { hashOf } from './key-index.js'
import { RouteShard, type NewReplica } from './route-shard.js'
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

/** Both numbers in one: JavaScript integers have 53 bits. */
const SLOTS_PER_CURSOR = 2 ** 32

/**
 * key → (byteLength, generation, replicas). All replicas of a key have one generation: a newer one replaces
 * the older ones, an older one is stale. Replicas are named by segment numbers; whether a segment is served
 * is looked up at every read, so a node can vanish from all routes in no time and be swept from memory later.
 */
export class RouteTable {
  readonly segments = new SegmentIndex()
  readonly #shards: readonly RouteShard[]
  readonly #ownersPerKeyMax: number
  #keyCount = 0

  constructor({ shardCount = 256, ownersPerKeyMax = 0 }: RouteTableOptions = {}) {
    this.#shards = Array.from({ length: shardCount }, () => new RouteShard(this.segments))
    this.#ownersPerKeyMax = ownersPerKeyMax
  }

  /** Includes keys of silent nodes, and of crashed ones until they are swept. */
  get keyCount(): number {
    return this.#keyCount
  }

  /** Whether somebody who is healthy has the key. */
  has(key: string): boolean {
    const hash = hashOf(key)
    const shard = this.#shardOf(hash)
    const slot = shard.slotOf(key, hash)
    return slot != null && shard.hasState(slot, VISIBLE)
  }

  /** The replicas that are served; undefined where there are none. */
  find(key: string): RouteEntry | undefined {
    return this.#entry(key, state => state === VISIBLE)
  }

  /** As `find`, with those of silent nodes. */
  findAll(key: string): RouteEntry | undefined {
    return this.#entry(key, state => state !== DEAD)
  }

  /**
   * Of puts that race, the one that comes first stays, whichever was numbered first: it may have been read
   * already. Where only silent nodes have a value, the new one takes its place.
   *
   * @param stamp the sequence number of the report, for `dropReplicas`
   * @param superseded gets the replicas that this one replaces
   */
  add(key: string, replica: NewReplica, stamp: number, superseded: Superseded[]): ReplicaAddResult {
    const { generation, segment, ifAbsent } = replica
    const hash = hashOf(key)
    const shard = this.#shardOf(hash)
    const slot = this.#liveSlot(shard, key, hash)
    if (slot == null) {
      shard.insert(key, hash, replica, stamp)
      this.#keyCount++
      return 'ok'
    }
    const known = shard.generation(slot)
    if (generation < known) return 'stale'
    if (generation > known) {
      if (ifAbsent === true && shard.hasState(slot, VISIBLE)) return 'stale'
      for (const old of shard.segmentsOf(slot)) superseded.push({ key, segment: old, generation: known })
      shard.replace(slot, replica, stamp)
      return 'ok'
    }
    if (shard.touch(slot, segment, stamp)) return 'ok'
    if (!this.#mayOwn(shard.segmentsOf(slot), segment)) return 'exceeded'
    shard.addReplica(slot, segment, stamp)
    return 'ok'
  }

  /** Ignored where a newer generation is known. */
  remove(key: string, segment: number, generation: number): boolean {
    return this.#dropUpTo(key, generation, candidate => candidate === segment)
  }

  /** Drops what one node's life holds of the key, up to a generation. */
  removeOwner(key: string, owner: number, generationMax: number): boolean {
    return this.#dropUpTo(key, generationMax, segment => this.segments.owner(segment) === owner)
  }

  /** Drops the replicas for which `drop` is true. To be called from a scan, with what it gives. */
  dropReplicas(shard: RouteShard, slot: number, drop: (segment: number, stamp: number) => boolean): number {
    const before = shard.keyCount
    const dropped = shard.dropReplicas(slot, drop)
    this.#keyCount -= before - shard.keyCount
    return dropped
  }

  /**
   * Visits every key, in slices with room for the event loop between them. What is there all the time is seen
   * once; what comes or goes meanwhile may be seen or not.
   */
  async scan(visit: (shard: RouteShard, slot: number, key: string) => void): Promise<void> {
    await this.scanSlices((shard, from, to) => {
      for (let slot = from; slot < to; slot++) {
        const key = shard.keyAt(slot)
        if (key != null) visit(shard, slot, key)
      }
    })
  }

  /** As `scan`, for visitors that take a slice of slots at a time. */
  async scanSlices(visit: (shard: RouteShard, from: number, to: number) => void): Promise<void> {
    let budget = SLICE_SLOTS
    for (const shard of this.#shards) {
      for (let from = 0; from < shard.slotCount;) {
        const to = Math.min(shard.slotCount, from + budget)
        visit(shard, from, to)
        budget -= to - from
        from = to
        if (budget > 0) continue
        await setImmediate()
        budget = SLICE_SLOTS
      }
    }
  }

  /** Frees what dead segments hold. */
  async sweep(): Promise<void> {
    while (this.segments.hasDying()) {
      await this.scan((shard, slot) => {
        if (!shard.hasState(slot, DEAD)) return
        this.dropReplicas(shard, slot, segment => this.segments.states[segment] === DEAD)
      })
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
    const keys: string[] = []
    let shardIndex = Math.floor(cursor / SLOTS_PER_CURSOR)
    let slot = cursor % SLOTS_PER_CURSOR
    let budget = SLICE_SLOTS * 4
    for (; shardIndex < this.#shards.length; shardIndex++, slot = 0) {
      const shard = this.#shards[shardIndex]!
      for (; slot < shard.slotCount; slot++) {
        if (keys.length === keysMax || budget-- === 0)
          return { keys, cursor: shardIndex * SLOTS_PER_CURSOR + slot }
        const key = shard.keyAt(slot)
        if (key != null && key.startsWith(prefix) && shard.hasState(slot, VISIBLE)) keys.push(key)
      }
    }
    return { keys }
  }

  #entry(key: string, counts: (state: number) => boolean): RouteEntry | undefined {
    const hash = hashOf(key)
    const shard = this.#shardOf(hash)
    const slot = shard.slotOf(key, hash)
    if (slot == null) return undefined
    const { states } = this.segments
    const segments = shard.segmentsOf(slot).filter(segment => counts(states[segment]!))
    if (segments.length === 0) return undefined
    return { byteLength: shard.byteLength(slot), generation: shard.generation(slot), segments }
  }

  /** The slot of a key that is not only a memory of crashed nodes. */
  #liveSlot(shard: RouteShard, key: string, hash: number): number | undefined {
    const slot = shard.slotOf(key, hash)
    if (slot == null || !shard.hasState(slot, DEAD)) return slot
    this.dropReplicas(shard, slot, segment => this.segments.states[segment] === DEAD)
    return shard.slotOf(key, hash)
  }

  #mayOwn(present: readonly number[], segment: number): boolean {
    if (this.#ownersPerKeyMax === 0) return true
    const owners = new Set(present.map(other => this.segments.owner(other)))
    return owners.has(this.segments.owner(segment)) || owners.size < this.#ownersPerKeyMax
  }

  #dropUpTo(key: string, generationMax: number, drop: (segment: number) => boolean): boolean {
    const hash = hashOf(key)
    const shard = this.#shardOf(hash)
    const slot = shard.slotOf(key, hash)
    if (slot == null || shard.generation(slot) > generationMax) return false
    return this.dropReplicas(shard, slot, drop) > 0
  }

  /** By the high bits: the low ones choose a bucket within the shard. */
  #shardOf(hash: number): RouteShard {
    return this.#shards[Math.floor((hash * this.#shards.length) / 2 ** 32)]!
  }
}
