import type { BatchPlace, EvictionEntry, EvictionPolicy, EvictionPolicyFactory } from '@mooncake-ts/core'
import { hashKey } from '../local/key-hash.js'
import { AccessHistory } from './access-history.js'
import { ageBucketCount, ageBucketOf, ageBucketStart } from './age-buckets.js'
import { GroupLists } from './group-lists.js'
import { grown } from './grown.js'
import { reuseClassOf, USES_MAX } from './reuse-classes.js'
import { groupOf, ReuseModel } from './reuse-model.js'

const NOWHERE = -1
const ALONE: BatchPlace = { index: 0, count: 1 }

/** Accesses that the history begins with, is long enough with for small tiers, and has at most (76 MB). */
const HISTORY_FIRST = 1 << 12
const HISTORY_USUAL = 1 << 17
const HISTORY_MAX = 1 << 22
/** Of larger tiers: so many accesses for each object that is here. */
const HISTORY_PER_OBJECT = 4

/** Accesses between two looks at what was learned. */
const REFRESH_ACCESSES = 4096
/** Each eighth of the history the counts lose a tenth: a history ago counts 0.4. */
const FADES_PER_HISTORY = 8
const FADE = 0.9

/**
 * Evicts what promises the fewest hits for the space that it would go on taking, learned from the tier's own past:
 * see docs/policies.md. Objects are grouped by class and age; the history moves them on when they age.
 */
export class HitDensityPolicy implements EvictionPolicy {
  readonly #model = new ReuseModel()
  readonly #groups = new GroupLists()
  readonly #history = new AccessHistory(HISTORY_FIRST)
  /** By slot: the position of its last access, NOWHERE once that is forgotten. */
  #positions = new Int32Array(64)
  #groupOf = new Uint16Array(64)
  #hashes = new Uint32Array(64)
  #uses = new Uint8Array(64)
  #count = 0

  constructor() {
    this.#groups.arrange(this.#model.order)
  }

  insert(slot: number, { key }: EvictionEntry, place: BatchPlace = ALONE): void {
    this.#reach(slot)
    const hash = hashKey(key)
    const ghost = this.#history.findGhost(hash)
    this.#hashes[slot] = hash
    this.#uses[slot] = ghost == null ? 0 : Math.min(USES_MAX, this.#history.usesOf(ghost) + 1)
    if (ghost != null) {
      this.#model.reused(groupOf(this.#history.classOf(ghost), ageBucketOf(this.#history.ageOf(ghost))))
      this.#history.end(ghost)
    }
    this.#count++
    this.#access(slot, place)
    this.#groups.add(this.#groupOf[slot]!, slot)
  }

  hit(slot: number, place: BatchPlace = ALONE): void {
    this.#model.reused(this.#groupOf[slot]!)
    this.#uses[slot] = Math.min(USES_MAX, this.#uses[slot]! + 1)
    if (this.#positions[slot] !== NOWHERE) this.#history.end(this.#positions[slot]!)
    const isFree = this.#groups.delete(slot)
    this.#access(slot, place)
    if (isFree) this.#groups.add(this.#groupOf[slot]!, slot)
  }

  hold(slot: number): void {
    this.#groups.delete(slot)
  }

  release(slot: number): void {
    this.#groups.add(this.#groupOf[slot]!, slot)
  }

  remove(slot: number, evicted: boolean): void {
    this.#groups.delete(slot)
    this.#count--
    const position = this.#positions[slot]!
    if (position === NOWHERE) return
    if (evicted) this.#history.becomeGhost(position)
    else this.#history.end(position)
  }

  /**
   * In the group that is worth least, from its cheaper end: the newest where objects gain by waiting, which also is the
   * tail of a prompt before its head.
   */
  victim(): number | undefined {
    const group = this.#groups.first
    if (group == null) return undefined
    return this.#model.rises(group) ? this.#groups.newest(group) : this.#groups.oldest(group)
  }

  #access(slot: number, place: BatchPlace): void {
    this.#step()
    const uses = this.#uses[slot]!
    const reuseClass = reuseClassOf(uses, place)
    this.#positions[slot] = this.#history.write(slot, this.#hashes[slot]!, reuseClass, uses)
    this.#groupOf[slot] = groupOf(reuseClass, 0)
    this.#model.reached(this.#groupOf[slot])
  }

  /** One access later: each age bucket begins for one object at most. */
  #step(): void {
    const history = this.#history
    if (history.now >= history.length && history.length < this.#lengthWanted()) this.#growHistory()
    const forgotten = history.step()
    if (forgotten != null) this.#positions[forgotten] = NOWHERE
    const buckets = ageBucketCount(history.length)
    for (let bucket = 1; bucket < buckets; bucket++) {
      const start = ageBucketStart(bucket)
      if (start >= history.now) break
      const position = history.at(start)
      if (position != null) this.#age(position, bucket)
    }
    if (history.now % REFRESH_ACCESSES !== 0) return
    if (history.now % (Math.max(HISTORY_USUAL, history.length) / FADES_PER_HISTORY) === 0)
      this.#model.fade(FADE)
    this.#model.refresh(buckets)
    this.#groups.arrange(this.#model.order)
  }

  #age(position: number, bucket: number): void {
    const group = groupOf(this.#history.classOf(position), bucket)
    this.#model.reached(group)
    const slot = this.#history.slotOf(position)
    if (slot == null) return
    this.#groupOf[slot] = group
    if (this.#groups.delete(slot)) this.#groups.add(group, slot)
  }

  #lengthWanted(): number {
    return Math.min(HISTORY_MAX, Math.max(HISTORY_USUAL, HISTORY_PER_OBJECT * this.#count))
  }

  #growHistory(): void {
    this.#history.grow((slot, position) => {
      this.#positions[slot] = position
    })
  }

  #reach(slot: number): void {
    this.#positions = grown(this.#positions, slot)
    this.#groupOf = grown(this.#groupOf, slot)
    this.#hashes = grown(this.#hashes, slot)
    this.#uses = grown(this.#uses, slot)
  }
}

/** The default: learns which objects come back, and when. */
export function hitDensity(): EvictionPolicyFactory {
  return Object.freeze({ name: 'hit-density', create: () => new HitDensityPolicy() })
}
