import { AGE_BUCKETS_MAX, ageBucketStart } from './age-buckets.js'
import { REUSE_CLASSES } from './reuse-classes.js'

/** One per class and age bucket. */
export const GROUPS = REUSE_CLASSES * AGE_BUCKETS_MAX

/** So many objects' worth of what all classes together do is mixed into what a class does. */
const PRIOR_OBJECTS = 200

export function groupOf(reuseClass: number, ageBucket: number): number {
  return reuseClass * AGE_BUCKETS_MAX + ageBucket
}

/**
 * How often objects of a class that reached an age are used again at that age, counted while they live and, as
 * ghosts, after they were evicted: so what is learned does not depend on what the policy does with it.
 *
 * From that, what an object is worth to the tier: the most hits per access of waiting that keeping it until *some*
 * later age can bring. That is Gittins' index of an object as a bandit ("Bandit processes and dynamic allocation
 * indices", 1979), and the exact form of what LHD (Beckmann et al., NSDI 2018) calls hit density.
 */
export class ReuseModel {
  /** Objects that came to the age, and those that were used at it. */
  readonly #reached = new Float64Array(GROUPS)
  readonly #reused = new Float64Array(GROUPS)
  readonly #worth = new Float64Array(GROUPS)
  /** Groups, the one to evict from first. */
  readonly order = Array.from({ length: GROUPS }, (_, group) => group)

  constructor() {
    this.#sort()
  }

  reached(group: number): void {
    this.#reached[group]!++
  }

  reused(group: number): void {
    this.#reused[group]!++
  }

  /** Older members of the group are worth more than younger ones. */
  rises(group: number): boolean {
    const isLast = group % AGE_BUCKETS_MAX === AGE_BUCKETS_MAX - 1
    return !isLast && this.#worth[group + 1]! > this.#worth[group]!
  }

  /** The past counts less from now on. */
  fade(factor: number): void {
    for (let group = 0; group < GROUPS; group++) {
      this.#reached[group]! *= factor
      this.#reused[group]! *= factor
    }
  }

  /** Worths and order anew. @param bucketCount age buckets that anything can be in, so far */
  refresh(bucketCount: number): void {
    const pooled = this.#pooledRates(bucketCount)
    const rates = new Float64Array(bucketCount)
    for (let reuseClass = 0; reuseClass < REUSE_CLASSES; reuseClass++) {
      for (let bucket = 0; bucket < bucketCount; bucket++) {
        const group = groupOf(reuseClass, bucket)
        const reused = this.#reused[group]! + PRIOR_OBJECTS * pooled[bucket]!
        rates[bucket] = Math.min(1, reused / (this.#reached[group]! + PRIOR_OBJECTS))
      }
      for (let bucket = 0; bucket < bucketCount; bucket++)
        this.#worth[groupOf(reuseClass, bucket)] = bestDensity(rates, bucket)
    }
    this.#sort()
  }

  #pooledRates(bucketCount: number): Float64Array {
    const rates = new Float64Array(bucketCount)
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      let reused = 0
      let reached = 1
      for (let reuseClass = 0; reuseClass < REUSE_CLASSES; reuseClass++) {
        reused += this.#reused[groupOf(reuseClass, bucket)]!
        reached += this.#reached[groupOf(reuseClass, bucket)]!
      }
      rates[bucket] = reused / reached
    }
    return rates
  }

  /** Where nothing is known the older goes first. */
  #sort(): void {
    const worth = this.#worth
    this.order.sort((a, b) => worth[a]! - worth[b]! || (b % AGE_BUCKETS_MAX) - (a % AGE_BUCKETS_MAX))
  }
}

/** Hits per access of waiting, when kept from the begin of a bucket to the end of the best later one. */
function bestDensity(rates: Float64Array, from: number): number {
  let alive = 1
  let hits = 0
  let accesses = 0
  let best = 0
  for (let bucket = from; bucket < rates.length; bucket++) {
    const rate = rates[bucket]!
    const width = ageBucketStart(bucket + 1) - ageBucketStart(bucket)
    hits += alive * rate
    accesses += alive * width * (1 - rate / 2)
    alive *= 1 - rate
    best = Math.max(best, hits / accesses)
  }
  return best
}
