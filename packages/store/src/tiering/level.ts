import type { Replica } from '../local/object-table.js'
import type { TierSpace } from '../local/tier-space.js'
import type { SchedulerConfig } from './scheduler-config.js'

/** A tier as the scheduler sees it. */
export interface Level {
  readonly space: TierSpace
  /** Fastest first; tiers of equal priority are neither. */
  readonly faster: readonly Level[]
  readonly slower: readonly Level[]
  /** Demotion begins above `highBytes` and goes on down to `lowBytes`; both are the capacity without it. */
  readonly highBytes: number
  readonly lowBytes: number
  /** Below it an object is promoted at its first read. */
  readonly freelyBytes: number
}

/** @param spaces fastest first */
export function levelsOf(spaces: readonly TierSpace[], config: Required<SchedulerConfig>): Level[] {
  const levels: Array<Level & { faster: Level[]; slower: Level[] }> = spaces.map(space => ({
    space,
    faster: [],
    slower: [],
    highBytes: config.demotionHighWatermark * space.tier.capacityBytes,
    lowBytes: config.demotionLowWatermark * space.tier.capacityBytes,
    freelyBytes: config.promotionFreelyBelow * space.tier.capacityBytes,
  }))
  for (const level of levels) {
    const { priority } = level.space.tier
    level.faster.push(...levels.filter(other => other.space.tier.priority > priority))
    level.slower.push(...levels.filter(other => other.space.tier.priority < priority))
  }
  return levels
}

/** Whether dropping the replica loses nothing: a slower tier has the object too. */
export function hasSlowerCopy({ object, holding }: Replica): boolean {
  const last = object.replicas.at(-1)
  return last != null && last.holding.tier.priority < holding.tier.priority
}
