import { MooncakeError } from '@mooncake-ts/core'

/** The directory itself. The flags of `mooncake_master` are named after these. */
export interface MasterOptions {
  /** Silence since the last heartbeat after which a node's routes are not served. @defaultValue 10 000 */
  readonly clientTtlMs?: number
  /** Silence since the last heartbeat after which a node is forgotten. @defaultValue 30 000 */
  readonly clientCrashedTtlMs?: number
  /** What nodes are told. @defaultValue 1000 */
  readonly heartbeatMs?: number
  /**
   * Nodes that may hold one key; a surplus replica is refused, and dropped by its node. 0: no limit.
   * @defaultValue 0; the reference system has 1, which makes `replicaNum` above 1 useless
   */
  readonly maxClientPerKey?: number
  /** Weight of other nodes in write routes; the writer's own has 1 − remoteWeight. @defaultValue 0.5 */
  readonly remoteWeight?: number
  /**
   * Parts of the route table; each grows by itself, which takes a millisecond for 50 000 keys.
   * @defaultValue 256
   */
  readonly shardCount?: number
  /** For one message to one node with keys to drop. @defaultValue 5000 */
  readonly nodeCallDeadlineMs?: number
  /** Removed keys remembered for silent nodes; about 150 bytes each. @defaultValue 262 144 */
  readonly tombstonesMax?: number
  /** @defaultValue 3 600 000 */
  readonly tombstoneTtlMs?: number
  /** Between two lines of metrics in the log; 0: none. @defaultValue 10 000 */
  readonly metricReportMs?: number
}

export const MASTER_DEFAULTS: Required<MasterOptions> = Object.freeze({
  clientTtlMs: 10_000,
  clientCrashedTtlMs: 30_000,
  heartbeatMs: 1000,
  maxClientPerKey: 0,
  remoteWeight: 0.5,
  shardCount: 256,
  nodeCallDeadlineMs: 5000,
  tombstonesMax: 262_144,
  tombstoneTtlMs: 3_600_000,
  metricReportMs: 10_000,
})

/** @throws ERR_INVALID_PARAMS */
export function validateOptions(options: Required<MasterOptions>): void {
  const wrong = (message: string): never => {
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  for (const [name, value] of Object.entries(options) as Array<[keyof MasterOptions, unknown]>) {
    if (!(name in MASTER_DEFAULTS)) continue
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
      wrong(`${name} must be a number, at least 0`)
    }
  }
  if (!Number.isInteger(options.shardCount) || options.shardCount < 1 || options.shardCount > 65_536) {
    wrong('shardCount must be a whole number from 1 to 65 536')
  }
  if (!Number.isInteger(options.maxClientPerKey)) wrong('maxClientPerKey must be a whole number')
  if (options.remoteWeight > 1) wrong('remoteWeight must be at most 1')
  if (options.heartbeatMs < 1 || options.heartbeatMs * 2 > options.clientTtlMs) {
    wrong('clientTtlMs must be at least two heartbeats (heartbeatMs)')
  }
  if (options.clientTtlMs >= options.clientCrashedTtlMs) wrong('clientCrashedTtlMs must exceed clientTtlMs')
}
