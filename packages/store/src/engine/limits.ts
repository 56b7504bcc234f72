import { MIB, MooncakeError } from '@mooncake-ts/core'
import type { StoreLimits } from '../api/config.js'
import { PLACES_MAX } from '../near/place-table.js'
import { INLINE_BYTES_MAX } from '../peers/protocol.js'
import { TIMER_MS_MAX } from './deadline.js'

export const DEFAULT_LIMITS: Required<StoreLimits> = Object.freeze({
  lockShardCount: 1024,
  inflightBytesMax: 256 * MIB,
  inlineBytesMax: INLINE_BYTES_MAX,
  queuedOpsMax: 65_536,
  stagingBytesMax: 64 * MIB,
  evictionHighWatermark: 0.95,
  evictionLowWatermark: 0.9,
  routeCacheKeysMax: 1_000_000,
  routeCacheTtlMs: 60_000,
  keyLeaseMs: 5000,
  viewsMax: 65_536,
  placesMax: 262_144,
  deadlineMs: 10_000,
  masterWaitMs: 10_000,
})

/** Limits that may be Infinity: without a limit. */
const UNBOUNDED: ReadonlySet<string> = new Set<keyof StoreLimits>([
  'deadlineMs',
  'inflightBytesMax',
  'masterWaitMs',
  'queuedOpsMax',
  'routeCacheKeysMax',
  'routeCacheTtlMs',
])

/** Limits that may be 0: not at all. */
const OPTIONAL: ReadonlySet<string> = new Set<keyof StoreLimits>(['inlineBytesMax', 'placesMax'])

/** Where it is neither a share nor a time nor any whole number. */
const MAXIMA: Readonly<Record<string, number>> = {
  inlineBytesMax: INLINE_BYTES_MAX, // The peer has the same.
  viewsMax: 262_144, // An owner keeps no more pins.
  placesMax: PLACES_MAX,
} satisfies Partial<Record<keyof StoreLimits, number>>

/** The defaults, with what the user said. @throws ERR_INVALID_PARAMS with the path of the limit */
export function resolveLimits(given: StoreLimits = {}): Required<StoreLimits> {
  const limits = { ...DEFAULT_LIMITS, ...given }
  for (const [name, value] of Object.entries(limits)) {
    const isRatio = name.endsWith('Watermark')
    const otherwise = name.endsWith('Ms') ? TIMER_MS_MAX : Number.MAX_SAFE_INTEGER
    const max = isRatio ? 1 : (MAXIMA[name] ?? otherwise)
    const whole = isRatio || Number.isSafeInteger(value)
    if (
      (whole && (value > 0 || (OPTIONAL.has(name) && value === 0)) && value <= max) ||
      (value === Infinity && UNBOUNDED.has(name))
    )
      continue
    const wanted = isRatio ? 'a share above 0 and up to 1' : `a positive whole number up to ${max}`
    throw new MooncakeError('ERR_INVALID_PARAMS', `limits/${name}: expected ${wanted}, got ${String(value)}`)
  }
  if (limits.evictionLowWatermark > limits.evictionHighWatermark) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      'limits/evictionLowWatermark: must not be above evictionHighWatermark',
    )
  }
  return limits
}
