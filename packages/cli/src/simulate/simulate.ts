import type { EvictionPolicyFactory } from '@mooncake-ts/core'
import { lru } from '@mooncake-ts/store'
import { beladyLeadingHits } from './belady.js'
import { SimulatedTier } from './simulated-tier.js'

/** Blocks of a prompt, from the first on. */
export type BlockIds = readonly number[]

/** Shares of all blocks that were asked for: leading hits only. */
export interface SimulatedRatios {
  readonly capacityBlocks: number
  readonly policy: number
  readonly lru: number
  readonly belady: number
}

/** Runs the requests through a tier of that size, with the policy as a store would run it. */
export function leadingHits(
  requests: readonly BlockIds[],
  factory: EvictionPolicyFactory,
  capacityBlocks: number,
): number[] {
  const tier = new SimulatedTier(factory, capacityBlocks)
  return requests.map(blockIds => tier.request(blockIds))
}

/** @param from the first request that counts; those before it only warm the tier. @defaultValue 0 */
export function hitRatio(requests: readonly BlockIds[], hits: readonly number[], from = 0): number {
  let blocks = 0
  let hit = 0
  for (let i = from; i < requests.length; i++) {
    blocks += requests[i]!.length
    hit += hits[i]!
  }
  return blocks === 0 ? 0 : hit / blocks
}

export function simulate(
  requests: readonly BlockIds[],
  factory: EvictionPolicyFactory,
  capacityBlocks: number,
): SimulatedRatios {
  return {
    capacityBlocks,
    policy: hitRatio(requests, leadingHits(requests, factory, capacityBlocks)),
    lru: hitRatio(requests, leadingHits(requests, lru(), capacityBlocks)),
    belady: hitRatio(requests, beladyLeadingHits(requests, capacityBlocks)),
  }
}
