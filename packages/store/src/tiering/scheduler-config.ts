import { MIB, MooncakeError } from '@mooncake-ts/core'
import { TIMER_MS_MAX } from '../engine/deadline.js'

/** How objects move between the tiers of one node. Shares are of a tier's capacity. */
export interface SchedulerConfig {
  /** Copy what a tier would evict to a slower one. @defaultValue true */
  readonly demotion?: boolean
  /** Copy what is read often out of a slow tier to a faster one. @defaultValue true */
  readonly promotion?: boolean
  /** Demotion begins above this share of a tier that has a slower one … @defaultValue 0.9 */
  readonly demotionHighWatermark?: number
  /** … and goes on down to this. @defaultValue 0.8 */
  readonly demotionLowWatermark?: number
  /**
   * Above this share of a tier that has a slower one objects are evicted at once, without a copy: a put does
   * not wait for demotion. @defaultValue 1
   */
  readonly limitWatermark?: number
  /** Puts and reads that an object must have had lately to be worth a copy. @defaultValue 0 */
  readonly demotionAccessesMin?: number
  /** Puts and reads that an object in a slow tier must have had lately to be promoted. @defaultValue 4 */
  readonly promotionAccessesMin?: number
  /** Below this share of a fast tier, one read is enough. @defaultValue 0.5 */
  readonly promotionFreelyBelow?: number
  /** Objects that may wait for their promotion; more are refused. @defaultValue 1024 */
  readonly promotionsQueuedMax?: number
  /** Keys whose accesses are told apart well, at 2 bytes each. @defaultValue 262 144 */
  readonly sketchKeysMax?: number
  /** Copies between tiers that run at a time. @defaultValue 4 */
  readonly backgroundOpsMax?: number
  /** Their bytes; a larger object goes alone. @defaultValue 64 MiB */
  readonly backgroundBytesMax?: number
  /** While foreground operations wait, one copy may begin in this time, in milliseconds. @defaultValue 100 */
  readonly backgroundProgressMs?: number
}

export const SCHEDULER_DEFAULTS: Required<SchedulerConfig> = Object.freeze({
  demotion: true,
  promotion: true,
  demotionHighWatermark: 0.9,
  demotionLowWatermark: 0.8,
  limitWatermark: 1,
  demotionAccessesMin: 0,
  promotionAccessesMin: 4,
  promotionFreelyBelow: 0.5,
  promotionsQueuedMax: 1024,
  sketchKeysMax: 262_144,
  backgroundOpsMax: 4,
  backgroundBytesMax: 64 * MIB,
  backgroundProgressMs: 100,
})

/** The most of each number, and whether it is whole; the least is 0 for shares and accesses, else 1. */
const RANGES: Readonly<Record<string, readonly [min: number, max: number]>> = {
  demotionAccessesMin: [0, 15],
  promotionAccessesMin: [1, 15],
  promotionsQueuedMax: [1, 2 ** 20],
  sketchKeysMax: [1, 2 ** 28],
  backgroundOpsMax: [1, 1024],
  backgroundBytesMax: [1, Number.MAX_SAFE_INTEGER],
  backgroundProgressMs: [1, TIMER_MS_MAX],
}

/**
 * The defaults, with what the user said; a watermark that was not said is not above one that was.
 * @throws ERR_INVALID_PARAMS with the path of the setting
 */
export function resolveScheduler(given: SchedulerConfig = {}): Required<SchedulerConfig> {
  const { limitWatermark } = { ...SCHEDULER_DEFAULTS, ...given }
  const demotionHighWatermark =
    given.demotionHighWatermark ?? Math.min(SCHEDULER_DEFAULTS.demotionHighWatermark, limitWatermark)
  const demotionLowWatermark = Math.min(SCHEDULER_DEFAULTS.demotionLowWatermark, demotionHighWatermark)
  const config = { ...SCHEDULER_DEFAULTS, demotionHighWatermark, demotionLowWatermark, ...given }
  for (const [name, value] of Object.entries(config) as Array<[string, unknown]>) {
    const wanted = wantedOf(name)
    if (wanted == null) throw invalid(name, 'there is no such setting')
    if (!wanted.fits(value)) throw invalid(name, `expected ${wanted.words}, got ${String(value)}`)
  }
  if (config.demotionLowWatermark > config.demotionHighWatermark) {
    throw invalid('demotionLowWatermark', 'must not be above demotionHighWatermark')
  }
  if (config.demotionHighWatermark > config.limitWatermark) {
    throw invalid('demotionHighWatermark', 'must not be above limitWatermark')
  }
  return config
}

interface Wanted {
  readonly words: string
  fits(value: unknown): boolean
}

function wantedOf(name: string): Wanted | undefined {
  if (!Object.hasOwn(SCHEDULER_DEFAULTS, name)) return undefined
  const range = RANGES[name]
  if (range != null) {
    const [min, max] = range
    return {
      words: `a whole number from ${min} to ${max}`,
      fits: value => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
    }
  }
  if (typeof SCHEDULER_DEFAULTS[name as keyof SchedulerConfig] === 'boolean') {
    return { words: 'true or false', fits: value => typeof value === 'boolean' }
  }
  return {
    words: 'a share from 0 to 1',
    fits: value => typeof value === 'number' && value >= 0 && value <= 1,
  }
}

function invalid(name: string, sentence: string): MooncakeError {
  return new MooncakeError('ERR_INVALID_PARAMS', `scheduler/${name}: ${sentence}`)
}
