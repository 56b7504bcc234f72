import type { Clock, Logger, RpcCarrier, Security } from '@mooncake-ts/core'
import type { Deadlines } from './deadlines.js'
import type { RpcMetrics } from './metrics.js'
import type { RpcSettings } from './options.js'

/** What every part of one service shares. */
export interface Surroundings {
  readonly settings: RpcSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly security: Security
  /** Preferred first. */
  readonly carriers: readonly RpcCarrier[]
  readonly metrics: RpcMetrics
  readonly deadlines: Deadlines
}
