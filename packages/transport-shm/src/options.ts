import { isAbsolute } from 'node:path'
import { KIB, MIB, MooncakeError } from '@mooncake-ts/core'

/** Every field may be left out. */
export interface ShmOptions {
  /**
   * Where processes of this host find each other: each has a socket there. Containers that mount the same
   * directory reach each other. Made with mode 0700 where it is missing.
   * @defaultValue `/tmp/mooncake-shm-<uid>`
   */
  readonly socketDirectory?: string
  /** Native threads that copy. @defaultValue 2 */
  readonly copyThreads?: number
  /**
   * What waits together and is no more than this is copied on the JavaScript thread, 60 to 110 µs a MiB: on a
   * virtual machine it takes 100 to 200 µs to wake a thread and to be woken by it. @defaultValue 4 MiB
   */
  readonly inlineCopyBytes?: number
  /** Take peers of other users, who have to know the cluster secret then. @defaultValue false */
  readonly allowOtherUsers?: boolean
  /** Ranges that may be exposed at a time; those beyond are left to other transports. @defaultValue 65 536 */
  readonly grantsMax?: number
  /** Regions of one peer that stay mapped. @defaultValue 128 */
  readonly regionsMaxPerPeer?: number
  /** Operations waiting for one peer; beyond, they fail with ERR_OVERLOADED. @defaultValue 1 048 576 */
  readonly queuedOpsMaxPerPeer?: number
  /**
   * Bytes copied in one go, after which an abort is noticed; one operation is never cut.
   * @defaultValue 8 MiB
   */
  readonly copyRunBytes?: number
  /**
   * Memory for one peer that carries bytes which lie outside of shareable memory at both ends.
   * @defaultValue 8 MiB
   */
  readonly stagingBytesPerPeer?: number
  /** Peers that may connect to this process. @defaultValue 4096 */
  readonly acceptedPeersMax?: number
  /** For connecting and the handshake together. @defaultValue 5 000 */
  readonly connectTimeoutMs?: number
  /** A peer that owes an answer and says nothing for this long is given up. @defaultValue 30 000 */
  readonly operationTimeoutMs?: number
  /** How long an aborted write waits for a peer that does not answer. @defaultValue 1 000 */
  readonly abortGraceMs?: number
  /** How long `stop` waits for peers. @defaultValue 5 000 */
  readonly stopTimeoutMs?: number
}

export type ResolvedOptions = Required<ShmOptions>

const DEFAULTS: Omit<ResolvedOptions, 'socketDirectory'> = Object.freeze({
  copyThreads: 2,
  inlineCopyBytes: 4 * MIB,
  allowOtherUsers: false,
  grantsMax: 65_536,
  regionsMaxPerPeer: 128,
  queuedOpsMaxPerPeer: 1_048_576,
  copyRunBytes: 8 * MIB,
  stagingBytesPerPeer: 8 * MIB,
  acceptedPeersMax: 4096,
  connectTimeoutMs: 5_000,
  operationTimeoutMs: 30_000,
  abortGraceMs: 1_000,
  stopTimeoutMs: 5_000,
})

const RANGES: ReadonlyArray<readonly [keyof ResolvedOptions, number, number]> = [
  ['copyThreads', 1, 64],
  ['inlineCopyBytes', 0, 64 * MIB],
  ['grantsMax', 1, 1_048_576],
  ['regionsMaxPerPeer', 1, 65_536],
  ['queuedOpsMaxPerPeer', 1, Number.MAX_SAFE_INTEGER],
  ['copyRunBytes', 4 * KIB, Number.MAX_SAFE_INTEGER],
  ['stagingBytesPerPeer', MIB, 1024 * MIB],
  ['acceptedPeersMax', 1, 1_000_000],
  ['connectTimeoutMs', 1, 86_400_000],
  ['operationTimeoutMs', 1, 86_400_000],
  ['abortGraceMs', 0, 86_400_000],
  ['stopTimeoutMs', 0, 86_400_000],
]

/** @throws ERR_INVALID_PARAMS that names the field and says what is wanted */
export function resolveOptions(options: ShmOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const resolved: ResolvedOptions = { socketDirectory: defaultDirectory(), ...DEFAULTS, ...given }
  for (const [name, min, max] of RANGES) {
    const value = resolved[name] as number
    if (Number.isSafeInteger(value) && value >= min && value <= max) continue
    const message = `shm.${name} must be an integer from ${min} to ${max}, not ${value}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  if (!isAbsolute(resolved.socketDirectory)) {
    throw new MooncakeError('ERR_INVALID_PARAMS', 'shm.socketDirectory must be an absolute path')
  }
  return resolved
}

/** Not TMPDIR: processes of one user have different ones, and would not find each other. */
function defaultDirectory(): string {
  return `/tmp/mooncake-shm-${process.getuid?.() ?? 0}`
}
