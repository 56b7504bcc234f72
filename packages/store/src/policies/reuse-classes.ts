import type { BatchPlace } from '@mooncake-ts/core'

/** New objects: the last of a batch, then by the size of the batch, powers of two up to 256 and more. */
const LAST_OF_BATCH = 0
const BATCH_BITS_MAX = 8
const FIRST_USED = 2 + BATCH_BITS_MAX

/** Uses at which a class of used objects begins. */
const USES = [1, 2, 3, 4, 6, 10] as const

export const REUSE_CLASSES = FIRST_USED + USES.length
/** More are not told apart. */
export const USES_MAX = USES[USES.length - 1]!

/**
 * Objects that are likely to be used again in the same way: those that were used before by how often, new ones by
 * the batch that brought them. (The last block of a prompt is rarely full, so the next turn of the conversation has
 * another one in its place; long new prompts come back less often than short ones.)
 */
export function reuseClassOf(uses: number, { index, count }: BatchPlace): number {
  if (uses > 0) return FIRST_USED + USES.findLastIndex(least => uses >= least)
  if (count > 1 && index === count - 1) return LAST_OF_BATCH
  return 1 + Math.min(BATCH_BITS_MAX, 31 - Math.clz32(count))
}
