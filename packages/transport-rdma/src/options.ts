import { KIB, MIB, MooncakeError, parseHostPort } from '@mooncake-ts/core'
import { DEVICES_MAX } from './native.js'

/** Every field may be left out. */
export interface RdmaOptions {
  /** Devices to use, e.g. `['mlx5_0']`. @defaultValue all that there are, at most 8 */
  readonly deviceNames?: readonly string[]
  /**
   * Where peers connect to exchange what queue pairs need, over TCP; port 0 takes any free one.
   * @defaultValue `127.0.0.1:0`
   */
  readonly listen?: string
  /**
   * The host that peers are told to dial.
   * @defaultValue that of `listen`; for a wildcard, the first outer address
   */
  readonly advertiseHost?: string
  /** Start without any device too, as a transport that reaches nobody. @defaultValue false */
  readonly optional?: boolean
  /** Port of each device. @defaultValue 1 */
  readonly port?: number
  /** Index in the port's table of GIDs. @defaultValue found by content: RoCE v2 with an IPv4 address first */
  readonly gidIndex?: number
  /** 256, 512, 1024, 2048 or 4096; the port's own and the peer's where less. @defaultValue 4096 */
  readonly mtu?: number
  /** Queue pairs for data between two devices; one more looks at windows. @defaultValue 2 */
  readonly queuePairsPerLink?: number
  /** Work requests in flight on a queue pair. @defaultValue 128 */
  readonly queueDepth?: number
  /** Places in the completion queue of a device; the device's own limit where less. @defaultValue 32 768 */
  readonly completionsMax?: number
  /** Writes up to this size travel in the work request. @defaultValue 64 */
  readonly inlineBytesMax?: number
  /** Operations are cut into work requests of this size. @defaultValue 64 KiB */
  readonly sliceBytes?: number
  /**
   * Callers' own buffers up to this size are copied through memory that devices know; larger ones are registered for
   * the operation. @defaultValue 256 KiB
   */
  readonly stagedBytesMax?: number
  /**
   * That memory. Who finds no room in it waits; less than a page: every buffer is registered. @defaultValue 16 MiB
   */
  readonly stagingBytesMax?: number
  /** Larger operations are spread over devices, in pieces of this size. @defaultValue 1 MiB */
  readonly pieceBytes?: number
  /** A packet without an answer is sent again after 4.096 µs × 2^this; 0 would wait for ever. @defaultValue 14 */
  readonly ackTimeout?: number
  /** That often. Soft-RoCE takes 7 for infinite. @defaultValue 6 */
  readonly packetRetries?: number
  /** How often an operation is posted again, over another link or a new one, when a link broke. @defaultValue 3 */
  readonly retriesMax?: number
  /** @defaultValue 0 */
  readonly serviceLevel?: number
  /** @defaultValue 0 */
  readonly trafficClass?: number
  /** @defaultValue 0 */
  readonly pkeyIndex?: number
  /** PCIe relaxed ordering of what peers write. @defaultValue false */
  readonly relaxedOrdering?: boolean
  /** The longest that the thread of a device polls before it sleeps; it adapts below that. @defaultValue 100 */
  readonly spinMicrosMax?: number
  /** Links that this end opens, over all peers; beyond, the one that was idle longest is closed. @defaultValue 256 */
  readonly linksMax?: number
  /** Links that peers may open to this end. @defaultValue 1 024 */
  readonly acceptedLinksMax?: number
  /** Ranges exposed at a time; 128 bytes of registered memory each. @defaultValue 16 384 */
  readonly exposuresMax?: number
  /** Operations in flight or waiting; beyond, they fail with ERR_OVERLOADED. @defaultValue 1 048 576 */
  readonly queuedOpsMax?: number
  /** A device on which a link broke is left out for so long, where another one is left. @defaultValue 30 000 */
  readonly devicePauseMs?: number
  /** For one connection and its handshake, and for making a link. @defaultValue 5 000 */
  readonly connectTimeoutMs?: number
  /**
   * How long aborted operations, and peers' operations on a revoked range, may take before their queue pairs are
   * destroyed. @defaultValue 1 000
   */
  readonly abortGraceMs?: number
  /** A link with work on it on which nothing ends for so long is broken. @defaultValue 30 000 */
  readonly operationTimeoutMs?: number
  /** How long `stop` waits for what is under way. @defaultValue 5 000 */
  readonly stopTimeoutMs?: number
  /** A link without work is closed after this long. @defaultValue 60 000 */
  readonly linkIdleMs?: number
}

type Optional = 'deviceNames' | 'advertiseHost' | 'gidIndex'
export type ResolvedOptions = Required<Omit<RdmaOptions, Optional>> & Pick<RdmaOptions, Optional>

export const DEFAULTS: ResolvedOptions = Object.freeze({
  listen: '127.0.0.1:0',
  optional: false,
  port: 1,
  mtu: 4096,
  queuePairsPerLink: 2,
  queueDepth: 128,
  completionsMax: 32_768,
  inlineBytesMax: 64,
  sliceBytes: 64 * KIB,
  pieceBytes: MIB,
  stagedBytesMax: 256 * KIB,
  stagingBytesMax: 16 * MIB,
  ackTimeout: 14,
  packetRetries: 6,
  retriesMax: 3,
  serviceLevel: 0,
  trafficClass: 0,
  pkeyIndex: 0,
  relaxedOrdering: false,
  spinMicrosMax: 100,
  linksMax: 256,
  acceptedLinksMax: 1024,
  exposuresMax: 16_384,
  queuedOpsMax: 1_048_576,
  devicePauseMs: 30_000,
  connectTimeoutMs: 5_000,
  abortGraceMs: 1_000,
  operationTimeoutMs: 30_000,
  stopTimeoutMs: 5_000,
  linkIdleMs: 60_000,
})

const RANGES: ReadonlyArray<readonly [keyof ResolvedOptions, number, number]> = [
  ['port', 1, 255],
  ['gidIndex', 0, 255],
  ['queuePairsPerLink', 1, 16],
  ['queueDepth', 1, 16_384],
  ['completionsMax', 64, 4_194_304],
  ['inlineBytesMax', 0, 1024],
  ['sliceBytes', 4 * KIB, 1024 * MIB],
  ['pieceBytes', 4 * KIB, 1024 * MIB],
  ['stagedBytesMax', 0, 1024 * MIB],
  ['stagingBytesMax', 0, 64 * 1024 * MIB],
  ['ackTimeout', 1, 31],
  ['packetRetries', 0, 7],
  ['retriesMax', 0, 100],
  ['serviceLevel', 0, 15],
  ['trafficClass', 0, 255],
  ['pkeyIndex', 0, 65_535],
  ['spinMicrosMax', 0, 1_000_000],
  ['linksMax', 1, 65_536],
  ['acceptedLinksMax', 1, 65_536],
  ['exposuresMax', 1, 1_048_576],
  ['queuedOpsMax', 1, Number.MAX_SAFE_INTEGER],
  ['devicePauseMs', 0, 86_400_000],
  ['connectTimeoutMs', 1, 86_400_000],
  ['abortGraceMs', 0, 86_400_000],
  ['operationTimeoutMs', 1, 86_400_000],
  ['stopTimeoutMs', 0, 86_400_000],
  ['linkIdleMs', 1, 86_400_000],
]

export const MTUS: readonly number[] = [256, 512, 1024, 2048, 4096]

/** @throws ERR_INVALID_PARAMS that names the field and says what is wanted */
export function resolveOptions(options: RdmaOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const resolved: ResolvedOptions = { ...DEFAULTS, ...given }
  checkRanges(resolved, RANGES)
  if (!MTUS.includes(resolved.mtu))
    throw invalid(`mtu must be one of ${MTUS.join(', ')}, not ${resolved.mtu}`)
  const { deviceNames } = resolved
  if (
    deviceNames != null &&
    (deviceNames.length > DEVICES_MAX || new Set(deviceNames).size < deviceNames.length)
  ) {
    throw invalid(`deviceNames must be at most ${DEVICES_MAX} different names`)
  }
  parseHostPort(resolved.listen)
  return resolved
}

/** @throws ERR_INVALID_PARAMS that names the field and says what is wanted */
export function checkRanges<T>(
  options: T,
  ranges: ReadonlyArray<readonly [name: keyof T & string, min: number, max: number]>,
): void {
  for (const [name, min, max] of ranges) {
    const value = options[name] as number | undefined
    if (value === undefined || (Number.isSafeInteger(value) && value >= min && value <= max)) continue
    throw invalid(`${name} must be an integer from ${min} to ${max}, not ${value}`)
  }
}

function invalid(what: string): MooncakeError {
  return new MooncakeError('ERR_INVALID_PARAMS', `rdma.${what}`)
}
