import type { EvictionEntry, EvictionPolicy, EvictionPolicyFactory, EvictionScope } from '@mooncake-ts/core'
import { hashKey } from '../local/key-hash.js'
import { grown } from './grown.js'
import { SlotLists } from './slot-lists.js'

const SMALL = 0
const MAIN = 1
/** Of the tier's bytes, for newcomers. */
const SMALL_SHARE = 0.1
const MAIN_SHARE = 1 - SMALL_SHARE
/** Hits that are counted at most. */
const HITS_MAX = 3
/** A newcomer with at least so many hits stays. */
const HITS_TO_STAY = 2

/**
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): newcomers stand in a small
 * queue; what is hit there moves to the main one, the rest goes early and leaves its key behind for a while, which
 * lets it into the main queue when it comes back. Hits count, and move nothing.
 */
export class S3FifoPolicy implements EvictionPolicy {
  readonly #smallBytesMax: number
  readonly #queues = new SlotLists(2)
  /** Hashes of keys that left the small queue, oldest first; as many as the main queue could hold. */
  readonly #ghosts = new Set<number>()
  /** Kept, because a fresh one would pass all that were deleted before. */
  #oldestGhosts = this.#ghosts.values()
  #hashes = new Uint32Array(64)
  #bytes = new Float64Array(64)
  #hits = new Uint8Array(64)
  #held = new Uint8Array(64)
  #inSmall = new Uint8Array(64)
  #smallBytes = 0
  #count = 0
  #heldCount = 0

  constructor({ capacityBytes }: EvictionScope) {
    this.#smallBytesMax = capacityBytes * SMALL_SHARE
  }

  insert(slot: number, { key, byteLength }: EvictionEntry): void {
    this.#reach(slot)
    const hash = hashKey(key)
    this.#hashes[slot] = hash
    this.#bytes[slot] = byteLength
    this.#hits[slot] = 0
    this.#held[slot] = 0
    this.#count++
    this.#join(this.#ghosts.delete(hash) ? MAIN : SMALL, slot)
  }

  hit(slot: number): void {
    this.#hits[slot] = Math.min(HITS_MAX, this.#hits[slot]! + 1)
  }

  /** Its place in the queue stays, until a search for a victim comes by. */
  hold(slot: number): void {
    this.#held[slot] = 1
    this.#heldCount++
  }

  release(slot: number): void {
    this.#held[slot] = 0
    this.#heldCount--
    if (this.#queues.listOf(slot) == null) this.#queues.add(this.#inSmall[slot] === 1 ? SMALL : MAIN, slot)
  }

  remove(slot: number, evicted: boolean): void {
    if (this.#held[slot] === 1) this.#heldCount--
    this.#count--
    const fromSmall = this.#inSmall[slot] === 1
    this.#leave(slot)
    if (evicted && fromSmall) this.#ghosts.add(this.#hashes[slot]!)
    while (this.#ghosts.size > MAIN_SHARE * (this.#count + 1)) this.#forgetGhost()
  }

  victim(): number | undefined {
    if (this.#count === this.#heldCount) return undefined
    for (;;) {
      const fromSmall = this.#smallBytes >= this.#smallBytesMax || this.#queues.isEmpty(MAIN)
      const slot = this.#queues.oldest(fromSmall && !this.#queues.isEmpty(SMALL) ? SMALL : MAIN)!
      const inSmall = this.#inSmall[slot] === 1
      if (this.#held[slot] === 1) {
        this.#queues.delete(slot) // Its holder brings it back.
      } else if (this.#hits[slot]! >= (inSmall ? HITS_TO_STAY : 1)) {
        this.#leave(slot)
        this.#hits[slot] = inSmall ? 0 : this.#hits[slot]! - 1
        this.#join(MAIN, slot)
      } else return slot
    }
  }

  #forgetGhost(): void {
    const { done, value } = this.#oldestGhosts.next()
    if (done === true) this.#oldestGhosts = this.#ghosts.values()
    else this.#ghosts.delete(value)
  }

  #join(queue: number, slot: number): void {
    const small = queue === SMALL
    this.#inSmall[slot] = small ? 1 : 0
    if (small) this.#smallBytes += this.#bytes[slot]!
    this.#queues.add(queue, slot)
  }

  #leave(slot: number): void {
    if (this.#inSmall[slot] === 1) this.#smallBytes -= this.#bytes[slot]!
    this.#queues.delete(slot)
  }

  #reach(slot: number): void {
    this.#hashes = grown(this.#hashes, slot)
    this.#bytes = grown(this.#bytes, slot)
    this.#hits = grown(this.#hits, slot)
    this.#held = grown(this.#held, slot)
    this.#inSmall = grown(this.#inSmall, slot)
  }
}

/** S3-FIFO, as in the paper: a small queue of 10 % for newcomers. */
export function s3Fifo(): EvictionPolicyFactory {
  return Object.freeze({ name: 's3-fifo', create: (scope: EvictionScope) => new S3FifoPolicy(scope) })
}
