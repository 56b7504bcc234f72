import { MooncakeError } from '@mooncake-ts/core'
import { CLIENT_BATCH_KEYS } from '../limits.js'

export interface MasterClientOptions {
  /** `host:port` of the masters, tried in turn. */
  readonly endpoints: readonly string[]
  /** The master's own wish counts where it is shorter. @defaultValue 1000 */
  readonly heartbeatMs?: number
  /** A master that does not answer a heartbeat in time is away. @defaultValue 3000 */
  readonly heartbeatDeadlineMs?: number
  /**
   * Pause after the first failed attempt to reach a master; doubles up to `backoffMaxMs`.
   * @defaultValue 100
   */
  readonly backoffMinMs?: number
  /** @defaultValue 2000 */
  readonly backoffMaxMs?: number
  /** For a call, where its caller sets no limit by a signal. @defaultValue 10 000 */
  readonly deadlineMs?: number
  /** Keys in one message while the node tells everything that it holds. @defaultValue 2000 */
  readonly resyncBatchKeys?: number
}

export const MASTER_CLIENT_DEFAULTS = Object.freeze({
  heartbeatMs: 1000,
  heartbeatDeadlineMs: 3000,
  backoffMinMs: 100,
  backoffMaxMs: 2000,
  deadlineMs: 10_000,
  resyncBatchKeys: 2000,
})

/** @throws ERR_INVALID_PARAMS */
export function validateClientOptions(options: Required<MasterClientOptions>): void {
  const { endpoints, ...numbers } = options
  if (!Array.isArray(endpoints) || endpoints.length === 0) {
    throw new MooncakeError('ERR_INVALID_PARAMS', 'endpoints must name at least one master, as host:port')
  }
  for (const [name, value] of Object.entries(numbers)) {
    if (Number.isFinite(value) && value > 0) continue
    throw new MooncakeError('ERR_INVALID_PARAMS', `${name} must be a positive number`)
  }
  if (options.resyncBatchKeys > CLIENT_BATCH_KEYS) {
    throw new MooncakeError('ERR_INVALID_PARAMS', `resyncBatchKeys must be at most ${CLIENT_BATCH_KEYS}`)
  }
}
