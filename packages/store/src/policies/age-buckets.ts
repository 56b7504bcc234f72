/**
 * Ages in accesses of the tier, in buckets that double: [0, 64), [64, 128), [128, 256) … Finer ones would separate
 * the blocks of one request.
 */
const FIRST_BITS = 6

/** For ages below 2^22 accesses. */
export const AGE_BUCKETS_MAX = 22 - FIRST_BITS + 1

export function ageBucketOf(ageAccesses: number): number {
  return 32 - Math.clz32(ageAccesses >> FIRST_BITS)
}

/** The age at which a bucket begins. */
export function ageBucketStart(bucket: number): number {
  return bucket === 0 ? 0 : 1 << (FIRST_BITS + bucket - 1)
}

/** Buckets of ages below a power of two. */
export function ageBucketCount(historyAccesses: number): number {
  return ageBucketOf(historyAccesses - 1) + 1
}
