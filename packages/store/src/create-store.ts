import {
  CLOCK,
  definePlugin,
  DIRECTORY,
  Host,
  LOGGER,
  MEMORY,
  METRICS,
  MooncakeError,
  RPC_SERVICE,
  SECURITY,
  TIER,
  token,
  TRANSPORT,
  value,
  type Plugin,
} from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { rpc } from '@mooncake-ts/rpc'
import type { StoreConfig } from './api/config.js'
import type { Store } from './api/store.js'
import { TIMER_MS_MAX } from './engine/deadline.js'
import { resolveLimits } from './engine/limits.js'
import { Node, type NodeParts } from './engine/node.js'
import { hitDensity } from './policies/hit-density.js'
import { resolveScheduler } from './tiering/scheduler-config.js'
import { StoreHandle } from './store.js'

const NODE = token<Node>('Node')

/** A restarted master or peer is noticed within this. */
const BACKOFF_MAX_MS = 1000

/** What a node's own start may take beside waiting for the master. */
const START_MS = 60_000

/**
 * Starts a node out of plugins and joins the cluster.
 *
 * @throws ERR_INVALID_PARAMS for a configuration that cannot be, ERR_PLUGIN_START with the plugin's own error
 * as cause, ERR_MASTER_UNAVAILABLE (as that cause) when no master answers within `limits.masterWaitMs`
 *
 * @example
 * await using store = await createStore({
 *   name: 'prefill-0',
 *   master: masterClient({ endpoints: ['127.0.0.1:50051'] }),
 *   transports: [tcp()],
 *   tiers: [dram({ capacityBytes: gib(4) })],
 * })
 * await store.put('block-0', bytes)
 */
export async function createStore(
  config: StoreConfig,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Store> {
  const limits = resolveLimits(config.limits)
  const scheduler = config.scheduler === false ? undefined : resolveScheduler(config.scheduler)
  if (config.name.length === 0 || config.name.includes('/')) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      'name: expected a name without a slash, it is part of segment names',
    )
  }
  if (config.transports.length === 0) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      'transports: expected at least one; without any no bytes can move',
    )
  }
  const tiers = config.tiers ?? []
  const storeNode = nodePlugin(
    {
      name: config.name,
      limits,
      direction: config.transferDirection ?? 'reverse',
      evictionPolicy: config.evictionPolicy ?? hitDensity(),
      scheduler,
    },
    tiers.length > 0,
  )
  const plugins: Plugin[] = [
    ...(config.logger == null ? [] : [value(LOGGER, config.logger)]),
    ...(config.clock == null ? [] : [value(CLOCK, config.clock)]),
    ...(config.security == null ? [] : [value(SECURITY, config.security)]),
    ...(config.metrics == null ? [] : [config.metrics]),
    config.memory ?? memory(),
    ...(config.rpcCarriers ?? []),
    config.rpc ?? rpc({ listen: ['127.0.0.1:0'], backoffMaxMs: BACKOFF_MAX_MS }),
    ...config.transports,
    ...tiers,
    config.master,
    storeNode,
  ]
  const startTimeoutMs = Math.min(START_MS + limits.masterWaitMs, TIMER_MS_MAX)
  const host = new Host(plugins, { startTimeoutMs })
  await host.start(options.signal)
  return new StoreHandle({
    name: config.name,
    limits,
    host,
    node: host.get(NODE),
    directory: host.get(DIRECTORY),
    memory: host.get(MEMORY),
    clock: host.get(CLOCK),
  })
}

function nodePlugin(
  own: Pick<NodeParts, 'name' | 'limits' | 'direction' | 'evictionPolicy' | 'scheduler'>,
  hasTiers: boolean,
): Plugin<Node> {
  return definePlugin<Node>({
    name: '@mooncake-ts/store',
    provides: NODE,
    requires: [MEMORY, RPC_SERVICE, TRANSPORT, DIRECTORY, ...(hasTiers ? [TIER] : [])],
    useFactory: (_options, scope) =>
      new Node({
        ...own,
        clock: scope.get(CLOCK),
        logger: scope.get(LOGGER).child({ node: own.name }),
        metrics: scope.get(METRICS),
        memory: scope.get(MEMORY),
        rpc: scope.get(RPC_SERVICE),
        directory: scope.get(DIRECTORY),
        transports: scope.getAll(TRANSPORT),
        tiers: scope.getAll(TIER),
      }),
  })()
}
