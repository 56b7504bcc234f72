import { CLOCK, definePlugin, LOGGER, MEMORY, METRICS, TIER, type Tier } from '@mooncake-ts/core'
import { assertOptions, DEFAULTS, type SsdOptions } from './options.js'
import { SsdTier } from './ssd-tier.js'

export type { Durability, SsdOptions } from './options.js'

/**
 * Replicas on a disk of this host, which are there again after a restart.
 *
 * @example createStore({ tiers: [dram({ capacityBytes: gib(64) }), ssd({ directory: '/mnt/nvme0',
 * capacityBytes: tib(1) })], … })
 */
export const ssd = definePlugin<Tier, SsdOptions>({
  name: '@mooncake-ts/tier-ssd',
  provides: TIER,
  requires: [CLOCK, LOGGER, MEMORY, METRICS],
  defaults: DEFAULTS,
  validate: assertOptions,
  useFactory: (options, scope) =>
    new SsdTier(
      { ...DEFAULTS, ...options },
      {
        memory: scope.get(MEMORY),
        clock: scope.get(CLOCK),
        logger: scope.get(LOGGER),
        metrics: scope.get(METRICS),
      },
    ),
})
