import { MooncakeError, type Clock, type Logger, type MemoryProvider, type Metrics } from '@mooncake-ts/core'
import type { EvictionPolicyFactory, Tier } from '@mooncake-ts/core'
import type { SchedulerConfig } from '../tiering/scheduler-config.js'
import type { Holding } from './holding.js'
import type { ObjectMeta } from './object-table.js'
import type { StagingPool } from './staging-pool.js'

/** `evicted` and `demoted`: one replica went for want of space; after a demotion a slower tier has the object. */
export type RemoveReason = 'evicted' | 'demoted' | 'removed' | 'replaced' | 'lost'

/** Called inside of the change, after it is made. They must neither throw nor change the backend. */
export interface BackendEvents {
  committed(meta: ObjectMeta, tier: Tier): void
  /** The object has another replica, in this tier. */
  copied(meta: ObjectMeta, tier: Tier): void
  removed(meta: ObjectMeta, tier: Tier, reason: RemoveReason): void
  /**
   * Somebody without a lease looks at the object, so that it frees nothing if it is evicted. Then it is not, until
   * `onLeft` is called, later and once. @defaultValue nobody does
   */
  isViewed?(meta: ObjectMeta, holding: Holding, onLeft: () => void): boolean
}

export interface TieredBackendInit {
  readonly tiers: readonly Tier[]
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly events: BackendEvents
  /** Eviction begins above this share of a tier's capacity … */
  readonly evictionHighWatermark: number
  /** … and goes on down to this. */
  readonly evictionLowWatermark: number
  readonly waitingReservationsMax: number
  /** Who goes when a tier is full. @defaultValue `hitDensity()` */
  readonly evictionPolicy?: EvictionPolicyFactory
  /** Moves objects between tiers. @defaultValue nothing does */
  readonly scheduler?: Required<SchedulerConfig> | undefined
  /** Whether the object of this key may change its tier now. @defaultValue any may */
  readonly mayMove?: (key: string) => boolean
  /** Operations that wait for their turn elsewhere in the process. @defaultValue none */
  readonly foregroundWaiting?: () => number
  /** For parts of objects in tiers that can only be read whole. @defaultValue a pool of its own */
  readonly staging?: StagingPool
}

/** @throws ERR_INVALID_PARAMS */
export function assertWatermarks(init: TieredBackendInit): void {
  const { evictionHighWatermark: high, evictionLowWatermark: low } = init
  if (low >= 0 && low <= high && high <= 1) return
  const message = `evictionLowWatermark (${low}) and evictionHighWatermark (${high}) must be shares of 1, the first not above the second`
  throw new MooncakeError('ERR_INVALID_PARAMS', message)
}

/** A tier whose victims go to a slower one evicts only what is above the limit: it has been relieved before. */
export function watermarksOf(
  tier: Tier,
  init: TieredBackendInit,
): { readonly high: number; readonly low: number } {
  const { scheduler, tiers, evictionHighWatermark: high, evictionLowWatermark: low } = init
  const demotes = scheduler?.demotion === true && tiers.some(({ priority }) => priority < tier.priority)
  return demotes ? { high: scheduler.limitWatermark, low: scheduler.limitWatermark } : { high, low }
}
