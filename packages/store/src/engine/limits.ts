import { MIB, MooncakeError } from '@mooncake-ts/core'
import type { StoreLimits } from '../api/config.js'
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

/** The defaults, with what the user said. @throws ERR_INVALID_PARAMS with the path of the limit */
export function resolveLimits(given: StoreLimits = {}): Required<StoreLimits> {
  const limits = { ...DEFAULT_LIMITS, ...given }
  for (const [name, value] of Object.entries(limits)) {
    const isRatio = name.endsWith('Watermark')
    const isInline = name === 'inlineBytesMax' // The peer has the same maximum; without is fine too.
    const max = isRatio
      ? 1
      : isInline
        ? INLINE_BYTES_MAX
        : name.endsWith('Ms')
          ? TIMER_MS_MAX
          : Number.MAX_SAFE_INTEGER
    const whole = isRatio || Number.isSafeInteger(value)
    if (
      (whole && (value > 0 || (isInline && value === 0)) && value <= max) ||
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
