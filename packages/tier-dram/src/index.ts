import {
  CLOCK,
  definePlugin,
  LOGGER,
  MEMORY,
  MooncakeError,
  OffsetAllocator,
  TIER,
  type Allocator,
  type Tier,
} from '@mooncake-ts/core'
import { DramTier } from './dram-tier.js'

export { OffsetAllocator, type OffsetAllocatorOptions } from '@mooncake-ts/core'

export interface DramOptions {
  /** Taken from the system at start, as one Region. */
  readonly capacityBytes: number
  /** Unique within the node. @defaultValue 'dram-0' */
  readonly name?: string
  /** Higher is faster. @defaultValue 100 */
  readonly priority?: number
  /** For placement policies. @defaultValue none */
  readonly tags?: readonly string[]
  /**
   * Offsets are multiples of it and lengths are rounded up to it; a power of two. Take 4096 where devices
   * reach into the memory with direct I/O and values are large. Only for the OFFSET allocator.
   * @defaultValue 64
   */
  readonly alignmentBytes?: number
  /** Who places values: the built-in one, or one of yours for this many bytes. @defaultValue 'OFFSET' */
  readonly allocator?: 'OFFSET' | ((capacityBytes: number) => Allocator)
  /**
   * Take all pages from the system at start, where the memory can do that, rather than when values first come
   * to them. After 10 s the tier serves, and goes on with the rest meanwhile.
   * @defaultValue true
   */
  readonly prefault?: boolean
}

const DEFAULTS = { name: 'dram-0', priority: 100, tags: [], allocator: 'OFFSET', prefault: true } as const

/**
 * Replicas in the memory of this host: the fastest tier, and one that transports reach into directly.
 *
 * @example createStore({ tiers: [dram({ capacityBytes: gib(64) })], … })
 */
export const dram = definePlugin<Tier, DramOptions>({
  name: '@mooncake-ts/tier-dram',
  provides: TIER,
  requires: [CLOCK, LOGGER, MEMORY],
  defaults: DEFAULTS,
  validate: assertOptions,
  useFactory: (options, scope) =>
    new DramTier(
      { ...DEFAULTS, ...options, allocator: allocatorOf(options) },
      { memory: scope.get(MEMORY), clock: scope.get(CLOCK), logger: scope.get(LOGGER) },
    ),
})

function allocatorOf({ allocator, ...options }: DramOptions): Allocator {
  return typeof allocator === 'function' ? allocator(options.capacityBytes) : new OffsetAllocator(options)
}

/** @throws ERR_INVALID_PARAMS */
function assertOptions(options: DramOptions): void {
  const { capacityBytes, name, priority, allocator } = options
  const wrong = (sentence: string): MooncakeError =>
    new MooncakeError('ERR_INVALID_PARAMS', `dram: ${sentence}`)
  if (!Number.isSafeInteger(capacityBytes) || capacityBytes <= 0)
    throw wrong('capacityBytes must be a positive whole number')
  if (name === '') throw wrong('name must not be empty')
  if (!Number.isFinite(priority)) throw wrong('priority must be a number')
  if (typeof allocator === 'function') return
  if (allocator !== 'OFFSET') throw wrong(`there is no allocator '${String(allocator)}', only OFFSET`)
  allocatorOf(options) // Costs a few kilobytes, and says what is wrong where it was typed.
}
