import { KIB, MIB, MooncakeError, parseHostPort } from '@mooncake-ts/core'
import { DESCRIPTORS_MAX, FRAME_PAYLOAD_BYTES_MAX } from './codec.js'

/** Every field may be left out. */
export interface TcpOptions {
  /** Where to listen, `host:port`; port 0 takes any free one. @defaultValue `127.0.0.1:0` */
  readonly listen?: string
  /**
   * The host that peers are told to dial.
   * @defaultValue that of `listen`; for a wildcard, the first outer address
   */
  readonly advertiseHost?: string
  /** Connections to one peer: one for small operations, the others for large ones. @defaultValue 3 */
  readonly lanesPerPeer?: number
  /** Operations larger than this are cut into stripes of at most this size. @defaultValue 4 MiB */
  readonly stripeBytes?: number
  /**
   * From this size on bulk threads move a piece. Below, the JavaScript thread enters the kernel itself: waking
   * a thread and being woken by it took 60 µs of the 280 that one MiB took. @defaultValue 2 MiB
   */
  readonly bulkThresholdBytes?: number
  /** Native threads that move large payloads. @defaultValue 2 */
  readonly bulkThreads?: number
  /** SO_SNDBUF of every lane; the receive buffer stays with the kernel's tuning. @defaultValue 512 KiB */
  readonly socketBufferBytes?: number
  /** Small operations packed into one frame. @defaultValue 256 */
  readonly frameOpsMax?: number
  /** Payload on the wire to one peer; what is beyond waits its turn. @defaultValue 64 MiB */
  readonly inflightBytesMaxPerPeer?: number
  /** Operations waiting for one peer; beyond, they fail with ERR_OVERLOADED. @defaultValue 1 048 576 */
  readonly queuedOpsMaxPerPeer?: number
  /** Connections that peers may open to this listener. @defaultValue 4096 */
  readonly acceptedLanesMax?: number
  /** For connecting and the handshake together. @defaultValue 5 000 */
  readonly connectTimeoutMs?: number
  /** A lane with work on it that makes no progress for this long is closed. @defaultValue 30 000 */
  readonly operationTimeoutMs?: number
  /**
   * How long aborted frames, and peers' frames on a revoked range, may take before their lane is closed.
   * @defaultValue 1 000
   */
  readonly abortGraceMs?: number
  /** How long `stop` waits for what is on the wire. @defaultValue 5 000 */
  readonly stopTimeoutMs?: number
  /** A lane without work is closed after this long. @defaultValue 60 000 */
  readonly laneIdleMs?: number
  /** @defaultValue `auto`: io_uring where the system allows it, else threads */
  readonly engine?: 'auto' | 'io_uring' | 'threads'
}

export type ResolvedOptions = Required<Omit<TcpOptions, 'advertiseHost'>> & Pick<TcpOptions, 'advertiseHost'>

export const DEFAULTS: ResolvedOptions = Object.freeze({
  listen: '127.0.0.1:0',
  lanesPerPeer: 3,
  stripeBytes: 4 * MIB,
  bulkThresholdBytes: 2 * MIB,
  bulkThreads: 2,
  socketBufferBytes: 512 * KIB,
  frameOpsMax: 256,
  inflightBytesMaxPerPeer: 64 * MIB,
  queuedOpsMaxPerPeer: 1_048_576,
  acceptedLanesMax: 4096,
  connectTimeoutMs: 5_000,
  operationTimeoutMs: 30_000,
  abortGraceMs: 1_000,
  stopTimeoutMs: 5_000,
  laneIdleMs: 60_000,
  engine: 'auto',
})

const RANGES: ReadonlyArray<readonly [keyof ResolvedOptions, number, number]> = [
  ['lanesPerPeer', 1, 64],
  ['stripeBytes', 4 * KIB, FRAME_PAYLOAD_BYTES_MAX],
  ['bulkThresholdBytes', 4 * KIB, FRAME_PAYLOAD_BYTES_MAX],
  ['bulkThreads', 1, 64],
  ['socketBufferBytes', 4 * KIB, 1024 * MIB],
  ['frameOpsMax', 1, DESCRIPTORS_MAX],
  ['inflightBytesMaxPerPeer', 1, Number.MAX_SAFE_INTEGER],
  ['queuedOpsMaxPerPeer', 1, Number.MAX_SAFE_INTEGER],
  ['acceptedLanesMax', 1, 1_000_000],
  ['connectTimeoutMs', 1, 86_400_000],
  ['operationTimeoutMs', 1, 86_400_000],
  ['abortGraceMs', 0, 86_400_000],
  ['stopTimeoutMs', 0, 86_400_000],
  ['laneIdleMs', 1, 86_400_000],
]

/** @throws ERR_INVALID_PARAMS that names the field and says what is wanted */
export function resolveOptions(options: TcpOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const resolved: ResolvedOptions = { ...DEFAULTS, ...given }
  for (const [name, min, max] of RANGES) {
    const value = resolved[name] as number
    if (Number.isSafeInteger(value) && value >= min && value <= max) continue
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `tcp.${name} must be an integer from ${min} to ${max}, not ${value}`,
    )
  }
  parseHostPort(resolved.listen)
  return resolved
}
