import { Type, type Static } from '@sinclair/typebox'
import { MooncakeError } from '@mooncake-ts/core'
import { parseEndpoint } from './endpoint.js'
import { checkSchema } from './schema.js'

/** Of a call that names none. */
export const DEADLINE_DEFAULT_MS = 10_000

/**
 * 24 hours. A longer one is refused: Node's timers overflow at 24 days, and nothing of ours takes that long.
 */
export const DEADLINE_MAX_MS = 86_400_000

const durationMs = Type.Integer({ minimum: 1, maximum: DEADLINE_MAX_MS })
const count = Type.Integer({ minimum: 1 })

const SETTINGS = Type.Object({
  listen: Type.Array(Type.String()),
  advertiseHost: Type.Optional(Type.String({ minLength: 1 })),
  frameBytesMax: Type.Integer({ minimum: 4096, maximum: 0x7fff_ffff }),
  outgoingBytesMax: count,
  connectionsMax: count,
  connectionsPerPeer: count,
  inflightCallsMax: count,
  connectTimeoutMs: durationMs,
  handshakeTimeoutMs: durationMs,
  carrierTimeoutMs: durationMs,
  backoffMinMs: durationMs,
  backoffMaxMs: durationMs,
  keepAliveMs: durationMs,
  idleConnectionMs: durationMs,
  drainMs: durationMs,
})

/** Options with every default filled in. */
export type RpcSettings = Readonly<Static<typeof SETTINGS>>

export interface RpcOptions {
  /**
   * `host:port`, `[v6 address]:port` or `unix:/path`; port 0 takes any free one.
   * @defaultValue none: this process only calls
   */
  readonly listen?: readonly string[]
  /**
   * The host that peers are told, for listeners beyond loopback.
   * @defaultValue the address listened on; for `0.0.0.0` and `::` the first IPv4 address of this machine that
   * is not loopback
   */
  readonly advertiseHost?: string
  /**
   * Of one frame, header excluded; a peer that announces a larger one is disconnected.
   * @defaultValue 64 MiB
   */
  readonly frameBytesMax?: number
  /**
   * Bytes that may wait for one socket to take them; beyond, calls fail with ERR_OVERLOADED.
   * @defaultValue 64 MiB
   */
  readonly outgoingBytesMax?: number
  /** Connections that a listener holds at once; further ones are closed on arrival. @defaultValue 10 000 */
  readonly connectionsMax?: number
  /** Connections to one endpoint. The second is opened when the first is busy. @defaultValue 2 */
  readonly connectionsPerPeer?: number
  /**
   * Calls waiting or in flight to one peer, and requests in work for one connection; beyond: ERR_OVERLOADED.
   * @defaultValue 16 384
   */
  readonly inflightCallsMax?: number
  /** @defaultValue 5000 */
  readonly connectTimeoutMs?: number
  /** From connected to authenticated, at either end. @defaultValue 5000 */
  readonly handshakeTimeoutMs?: number
  /**
   * From authenticated to carried; then the connection stays on its socket. A server waits twice as long.
   * @defaultValue 5000
   */
  readonly carrierTimeoutMs?: number
  /**
   * Pause after the first failed attempt to connect; doubles with each, give or take a random half.
   * @defaultValue 50
   */
  readonly backoffMinMs?: number
  /** @defaultValue 5000 */
  readonly backoffMaxMs?: number
  /**
   * A peer that is silent for so long while calls wait is pinged; silent for as long again, it is given up.
   * @defaultValue 10 000
   */
  readonly keepAliveMs?: number
  /** Connections without calls are closed after this. @defaultValue 300 000 */
  readonly idleConnectionMs?: number
  /**
   * How long `stop` waits for requests in work; then once more as long for them to heed their aborted signal.
   * @defaultValue 5000
   */
  readonly drainMs?: number
}

export const RPC_DEFAULTS = Object.freeze({
  listen: Object.freeze([]),
  frameBytesMax: 64 * 2 ** 20,
  outgoingBytesMax: 64 * 2 ** 20,
  connectionsMax: 10_000,
  connectionsPerPeer: 2,
  inflightCallsMax: 16_384,
  connectTimeoutMs: 5000,
  handshakeTimeoutMs: 5000,
  carrierTimeoutMs: 5000,
  backoffMinMs: 50,
  backoffMaxMs: 5000,
  keepAliveMs: 10_000,
  idleConnectionMs: 300_000,
  drainMs: 5000,
})

/** @throws ERR_INVALID_PARAMS */
export function checkOptions(options: RpcOptions): asserts options is RpcSettings {
  checkSchema(SETTINGS, options, 'Options of rpc')
  for (const text of options.listen) parseEndpoint(text)
  if (options.backoffMinMs > options.backoffMaxMs) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      'Options of rpc: backoffMinMs: expected at most backoffMaxMs',
    )
  }
}
