import { lru } from '@mooncake-ts/store'
import { SCHEDULER_DEFAULTS, type SchedulerConfig } from '../../dist/tiering/scheduler-config.js'
import type { TieredBackendInit } from '../../dist/local/tiered-backend.js'
import { Harness, poisonTier } from '../local/support/harness.js'
import type { MapTier } from '../local/support/tiers.js'

/** A fast tier in memory over a slow one that has no addresses. */
export function twoTiers(
  fastBytes: number,
  slow: MapTier,
  scheduler: SchedulerConfig = {},
  options: Partial<TieredBackendInit> = {},
): Harness {
  return new Harness(memory => [poisonTier(memory, fastBytes), slow], {
    evictionPolicy: lru(), // Whose order a test can tell beforehand.
    scheduler: { ...SCHEDULER_DEFAULTS, promotion: false, ...scheduler },
    ...options,
  })
}

/** Where an object lies, fastest first. */
export function placesOf(h: Harness, key: string): string[] {
  return [...h.backend.entries()].filter(({ meta }) => meta.key === key).map(({ tier }) => tier.name)
}

export function usedBytes(h: Harness): number[] {
  return h.tiers.map(tier => tier.usedBytes)
}
