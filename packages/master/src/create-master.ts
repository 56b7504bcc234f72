import {
  CLOCK,
  Host,
  LOGGER,
  RPC_SERVICE,
  SECURITY,
  value,
  type Clock,
  type Logger,
  type Metrics,
  type Plugin,
  type PluginReport,
  type RpcCarrier,
  type RpcService,
  type Security,
} from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { ADMIN_SERVER, adminServer, type AdminOptions } from './admin/admin-server.js'
import type { MasterOptions } from './options.js'
import { MASTER_SERVICE, masterService } from './service/master-service.js'
import type { MasterStats } from './service/stats.js'

/** A master, composed. */
export interface MasterConfig extends MasterOptions, AdminOptions {
  /** @defaultValue `rpc({ listen: ['127.0.0.1:50051'] })` */
  readonly rpc?: Plugin<RpcService>
  /** What carries RPC connections to peers that have it too. @defaultValue none: their sockets */
  readonly rpcCarriers?: readonly Plugin<RpcCarrier>[]
  /** Without one `/metrics` is empty. */
  readonly metrics?: Plugin<Metrics>
  readonly security?: Security
  readonly logger?: Logger
  readonly clock?: Clock
  /** False: no admin pages. @defaultValue true */
  readonly admin?: boolean
}

/** A running directory. */
export interface Master extends AsyncDisposable {
  /** `host:port` for `masterClient({ endpoints })`. */
  readonly rpcEndpoint: string
  /** `host:port` of the admin pages; undefined without them. */
  readonly httpEndpoint: string | undefined
  stats(): MasterStats
  /** What it is composed of, with options and start times. */
  explain(): PluginReport[]
  /** Idempotent; the same as `await using`. */
  close(): Promise<void>
}

/**
 * Starts a master.
 *
 * @throws ERR_INVALID_PARAMS, ERR_PLUGIN_START (with ERR_ADDRESS_IN_USE or ERR_INSECURE_BIND as its cause)
 *
 * @example
 * await using master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), metricsPort: 0 })
 * const directory = masterClient({ endpoints: [master.rpcEndpoint] })
 */
export async function createMaster(config: MasterConfig = {}): Promise<Master> {
  const host = new Host(pluginsOf(config))
  await host.start()
  const service = host.get(MASTER_SERVICE)
  return {
    rpcEndpoint: host.get(RPC_SERVICE).endpoints[0] ?? '',
    httpEndpoint: config.admin === false ? undefined : host.get(ADMIN_SERVER).endpoint,
    stats: () => service.stats(),
    explain: () => host.explain(),
    close: () => host.stop(),
    [Symbol.asyncDispose]: () => host.stop(),
  }
}

function pluginsOf(config: MasterConfig): Plugin[] {
  const {
    rpc: rpcPlugin,
    rpcCarriers = [],
    metrics,
    security,
    logger,
    clock,
    admin,
    metricsHost,
    metricsPort,
    ...options
  } = config
  const plugins: Plugin[] = [
    ...rpcCarriers,
    rpcPlugin ?? rpc({ listen: ['127.0.0.1:50051'] }),
    masterService(withoutUndefined(options)),
  ]
  if (admin !== false) plugins.push(adminServer(withoutUndefined({ metricsHost, metricsPort })))
  if (metrics != null) plugins.push(metrics)
  if (security != null) plugins.push(value(SECURITY, security))
  if (logger != null) plugins.push(value(LOGGER, logger))
  if (clock != null) plugins.push(value(CLOCK, clock))
  return plugins
}

/** An option that is set to undefined would hide its default. */
function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, option]) => option !== undefined)) as T
}
