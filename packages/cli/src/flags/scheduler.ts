import { MooncakeError } from '@mooncake-ts/core'
import { Type, type Static } from '@mooncake-ts/rpc'
import type { SchedulerConfig } from '@mooncake-ts/store'
import { refuseNotBuilt, type NotBuiltField } from './not-built-fields.js'

const Share = Type.Optional(Type.Number({ minimum: 0, maximum: 1 }))
const Accesses = (minimum: number) => Type.Optional(Type.Integer({ minimum, maximum: 15 }))
const Count = (maximum: number) => Type.Optional(Type.Integer({ minimum: 1, maximum }))
const AnyNumber = Type.Optional(Type.Number())
const Text = Type.Optional(Type.String())

/** The `scheduler` block of `--tiered_backend_config`. */
export const SchedulerEntry = Type.Object(
  {
    type: Text,
    policy: Text,
    tier_role_mode: Text,
    fast_tier_tag: Text,
    slow_tier_tag: Text,
    thread_count: Count(1024),
    queue_capacity: Count(2 ** 20),
    evict_watermark_low: Share,
    evict_watermark_high: Share,
    limit_watermark: Share,
    evict_rate_k: AnyNumber,
    evict_load_window_s: AnyNumber,
    offload_freq_threshold: Accesses(0),
    onboard_freq_threshold: Accesses(1),
    onboard_fast_threshold: Share,
    sketch_capacity: Count(2 ** 28),
    candidate_scan_limit: AnyNumber,
    band_warm_threshold: AnyNumber,
    band_hot_threshold: AnyNumber,
    band_veryhot_threshold: AnyNumber,
    loop_interval_ms: AnyNumber,
    hot_key_num: AnyNumber,
  },
  { additionalProperties: false },
)
type Entry = Static<typeof SchedulerEntry>

const NOT_BUILT: readonly NotBuiltField[] = [
  { name: 'type', inert: 'event_driven' },
  { name: 'policy', inert: 'multi_lru' },
  { name: 'tier_role_mode', inert: 'auto' },
  { name: 'fast_tier_tag', inert: '' },
  { name: 'slow_tier_tag', inert: '' },
  { name: 'evict_rate_k', inert: 1 },
  { name: 'evict_load_window_s', inert: 2 },
  { name: 'candidate_scan_limit', inert: 4096 },
  { name: 'band_warm_threshold', inert: 3 },
  { name: 'band_hot_threshold', inert: 8 },
  { name: 'band_veryhot_threshold', inert: 15 },
  { name: 'loop_interval_ms', inert: 1000 },
  { name: 'hot_key_num', inert: 2000 },
]

/** What the reference system calls our settings. */
const NAMES = {
  thread_count: 'backgroundOpsMax',
  queue_capacity: 'promotionsQueuedMax',
  evict_watermark_low: 'demotionLowWatermark',
  evict_watermark_high: 'demotionHighWatermark',
  limit_watermark: 'limitWatermark',
  offload_freq_threshold: 'demotionAccessesMin',
  onboard_freq_threshold: 'promotionAccessesMin',
  onboard_fast_threshold: 'promotionFreelyBelow',
  sketch_capacity: 'sketchKeysMax',
} as const satisfies Partial<Record<keyof Entry, keyof SchedulerConfig>>

/**
 * @param at the path of the block, for messages
 * @throws ERR_CONFIG with the path of the field
 */
export function schedulerOf(entry: Entry, at: string): SchedulerConfig {
  refuseNotBuilt(entry, NOT_BUILT, at)
  const { evict_watermark_low: low, evict_watermark_high: high = 1, limit_watermark: limit = 1 } = entry
  if (low != null && low > high) {
    throw new MooncakeError('ERR_CONFIG', `${at}/evict_watermark_low: must not be above evict_watermark_high`)
  }
  if (entry.evict_watermark_high != null && high > limit) {
    throw new MooncakeError('ERR_CONFIG', `${at}/evict_watermark_high: must not be above limit_watermark`)
  }
  const given = Object.entries(NAMES).filter(([name]) => entry[name as keyof typeof NAMES] != null)
  return Object.fromEntries(given.map(([name, ours]) => [ours, entry[name as keyof typeof NAMES]]))
}
