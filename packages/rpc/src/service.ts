import type {
  Clock,
  Logger,
  Metrics,
  RpcCarrier,
  RpcClient,
  RpcHandler,
  RpcMethod,
  RpcService,
  Security,
  Startable,
} from '@mooncake-ts/core'
import { Peer } from './client/peer.js'
import { Deadlines } from './deadlines.js'
import { RpcMetrics } from './metrics.js'
import type { RpcSettings } from './options.js'
import { HandlerRegistry } from './server/registry.js'
import { RpcServer } from './server/server.js'
import type { Surroundings } from './surroundings.js'

/**
 * RPC over TCP and unix sockets: one server with any number of listeners, one pool of connections for each
 * endpoint called.
 */
export class SocketRpcService implements RpcService, Startable {
  readonly #around: Surroundings
  readonly #handlers = new HandlerRegistry()
  readonly #server: RpcServer
  readonly #peers = new Map<string, Peer>()
  #stopped = false

  constructor(
    settings: RpcSettings,
    parts: {
      readonly clock: Clock
      readonly logger: Logger
      readonly metrics: Metrics
      readonly security: Security
      readonly carriers: readonly RpcCarrier[]
    },
  ) {
    const { clock, logger, security, carriers } = parts
    const metrics = new RpcMetrics(parts.metrics)
    this.#around = {
      settings,
      clock,
      logger,
      security,
      carriers,
      metrics,
      deadlines: new Deadlines(clock),
    }
    this.#server = new RpcServer(this.#around, this.#handlers)
  }

  get endpoints(): readonly string[] {
    return this.#server.endpoints
  }

  handle<Request, Response>(
    method: RpcMethod<Request, Response>,
    handler: RpcHandler<Request, Response>,
  ): Disposable {
    return this.#handlers.add(method, handler)
  }

  /** @throws ERR_INVALID_PARAMS for what is no endpoint */
  connect(endpoint: string): RpcClient {
    let peer = this.#peers.get(endpoint)
    if (peer == null) {
      peer = new Peer(endpoint, this.#around)
      if (this.#stopped) void peer.close()
      this.#peers.set(endpoint, peer)
    }
    return peer
  }

  /** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO; the signal's reason */
  async start(signal: AbortSignal): Promise<void> {
    await this.#server.start(signal)
  }

  /**
   * Requests in work may still call others: so the server drains first, and then what was called is let go.
   */
  async stop(): Promise<void> {
    await this.#server.stop()
    this.#stopped = true
    await Promise.all([...this.#peers.values()].map(peer => peer.close()))
    this.#around.deadlines.close()
  }
}
