import { KIB } from '@mooncake-ts/core'
import { checkRanges, resolveOptions, type RdmaOptions, type ResolvedOptions } from '../options.js'
import type { NativeStreamOptions } from '../native.js'

/** What the carrier has in common with the transport. */
const DEVICE_OPTIONS = [
  'deviceNames',
  'optional',
  'port',
  'gidIndex',
  'mtu',
  'inlineBytesMax',
  'ackTimeout',
  'packetRetries',
  'serviceLevel',
  'trafficClass',
  'pkeyIndex',
  'spinMicrosMax',
] as const satisfies ReadonlyArray<keyof RdmaOptions>

/** Every field may be left out. */
export interface RpcOverRdmaOptions extends Pick<RdmaOptions, (typeof DEVICE_OPTIONS)[number]> {
  /** Receives that wait on each connection: messages that a peer may send before anybody reads. @defaultValue 32 */
  readonly slots?: number
  /** Of each of them; larger writes are cut. @defaultValue 16 KiB */
  readonly slotBytes?: number
  /** Of each connection: bytes on their way out. @defaultValue 256 KiB */
  readonly sendBytes?: number
  /** Connections of this process on each device; more stay on their sockets. @defaultValue 256 */
  readonly streamsMax?: number
}

export interface ResolvedRpcOptions extends NativeStreamOptions {
  readonly device: ResolvedOptions
  readonly streamsMax: number
}

const DEFAULTS = Object.freeze({ slots: 32, slotBytes: 16 * KIB, sendBytes: 256 * KIB, streamsMax: 256 })

/** Of a stream beyond its slots, for messages without bytes: `kSpareReceives` of native/core/credit_ledger.h. */
const SPARE_RECEIVES = 3

/** @throws ERR_INVALID_PARAMS that names the field and says what is wanted */
export function resolveRpcOptions(options: RpcOverRdmaOptions): ResolvedRpcOptions {
  const own = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const { slots, slotBytes, sendBytes, streamsMax } = { ...DEFAULTS, ...own } as typeof DEFAULTS
  const streams = { slots, slotBytes, sendBytes, streamsMax }
  checkRanges(streams, [
    ['slots', 2, 4096],
    ['slotBytes', 256, 1024 * KIB],
    ['sendBytes', 4 * KIB, 64 * 1024 * KIB],
    ['streamsMax', 1, 65_536],
  ])
  const given = Object.fromEntries(
    DEVICE_OPTIONS.filter(name => options[name] !== undefined).map(name => [name, options[name]]),
  )
  const completionsMax = Math.max(64, streamsMax * 2 * (slots + SPARE_RECEIVES))
  return { ...streams, device: { ...resolveOptions(given), completionsMax } }
}
