import type { EvictionPolicyFactory } from '@mooncake-ts/core'
import { hitDensity } from './hit-density.js'
import { lru } from './lru.js'
import { s3Fifo } from './s3-fifo.js'

export { hitDensity, lru, s3Fifo }

/** By the name that flags and reports use. */
export const EVICTION_POLICIES: Readonly<Record<string, () => EvictionPolicyFactory>> = Object.freeze({
  'hit-density': hitDensity,
  lru,
  's3-fifo': s3Fifo,
})
