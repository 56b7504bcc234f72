import { hostname } from 'node:os'
import { METRICS, MooncakeError, value, type Logger, type Metrics, type Security } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { memory } from '@mooncake-ts/memory'
import { PrometheusMetrics } from '@mooncake-ts/metrics-prometheus'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, EVICTION_POLICIES, type StoreConfig } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { CLIENT_FLAGS, masterEndpoints } from '../flags/client.js'
import { hostOf, securityOf } from '../flags/common.js'
import { HELP_SHOWN, loadSettings, refuseIgnored, type Invocation, type Settings } from '../flags/load.js'
import { carriersOf } from '../flags/rdma.js'
import { parseTiers } from '../flags/tiers.js'
import { refuseWrongTransport, transportsOf } from '../flags/transports.js'
import { createLogger } from '../process/logging.js'
import { serveMetrics } from '../process/metrics-server.js'
import { untilStopped } from '../process/run.js'

/** For `--route_cache_max_memory`: a key of 64 bytes, a Map entry and two small objects. */
const ROUTE_BYTES = 300

const KEY_LEASE_DEFAULT_MS = 5000

/** A restarted master or peer is noticed within this. */
const BACKOFF_MAX_MS = 1000

/** `mooncake_client`: contributes tiers to the pool until it is told to stop. */
export async function runNode(argv: readonly string[]): Promise<number> {
  const summary = 'A node of the pool: contributes memory, and serves what it holds to other nodes.'
  const invocation = loadSettings({
    program: 'mooncake_client',
    summary,
    flags: CLIENT_FLAGS,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  const { settings } = invocation
  refuseContradictions(invocation)
  const security = securityOf(settings)
  const name = nodeName(settings)
  const logger = createLogger(String(settings.log_level), { node: name })
  const metrics = new PrometheusMetrics({})
  const config = nodeConfig(settings, { name, security, logger, metrics })
  await using http = await serveMetrics(settings, security, metrics, logger)
  const stopped = untilStopped()
  const starting = new AbortController()
  void stopped.then(why => {
    starting.abort(new MooncakeError('ERR_SHUTTING_DOWN', `Stopped by ${why}`))
  })
  try {
    await using store = await createStore(config, { signal: starting.signal })
    logger.info('Serving', { name: store.name, tiers: config.tiers?.length ?? 0 })
    const where = http.endpoint == null ? '' : ` http=${http.endpoint}`
    process.stdout.write(`READY name=${store.name}${where}\n`)
    logger.info(`Stopping: ${await stopped}`)
  } catch (error) {
    if (error !== starting.signal.reason) throw error // Told to stop while it waited for the master.
  }
  return 0
}

/** @throws ERR_CONFIG */
function refuseContradictions(invocation: Invocation): void {
  const { settings } = invocation
  if (Number(settings.eviction_low_watermark_ratio) > Number(settings.eviction_high_watermark_ratio)) {
    const message = '--eviction_low_watermark_ratio: expected at most --eviction_high_watermark_ratio'
    throw new MooncakeError('ERR_CONFIG', message)
  }
  refuseWrongTransport(invocation)
  if (settings.tiered_backend_config !== '') {
    refuseIgnored(invocation, ['global_segment_size'], 'beside --tiered_backend_config')
  }
}

interface Surroundings {
  readonly name: string
  readonly security: Security
  readonly logger: Logger
  readonly metrics: Metrics
}

/** The same object that a program would write by hand. @throws ERR_CONFIG */
export function nodeConfig(
  settings: Settings,
  { name, security, logger, metrics }: Surroundings,
): StoreConfig {
  const host = hostOf(settings, security)
  return {
    ...tiersOf(settings),
    name,
    security,
    logger,
    metrics: value(METRICS, metrics),
    master: masterClient({ endpoints: masterEndpoints(settings) }),
    memory: memory({
      hugePages: settings.use_hugepage === true ? '2MiB' : 'transparent',
      onWarning: message => {
        logger.warn(message)
      },
    }),
    rpc: rpc({ listen: [`${host}:${Number(settings.client_rpc_port)}`], backoffMaxMs: BACKOFF_MAX_MS }),
    rpcCarriers: carriersOf(settings),
    transports: transportsOf(settings, `${host}:${Number(settings.port)}`, logger),
    evictionPolicy: EVICTION_POLICIES[String(settings.eviction_policy)]!(),
    transferDirection: settings.p2p_transfer_direction_mode === 'forward' ? 'forward' : 'reverse',
    limits: {
      lockShardCount: Number(settings.lock_shard_count),
      evictionHighWatermark: Number(settings.eviction_high_watermark_ratio),
      evictionLowWatermark: Number(settings.eviction_low_watermark_ratio),
      routeCacheKeysMax: Math.max(1, Math.floor(Number(settings.route_cache_max_memory) / ROUTE_BYTES)),
      routeCacheTtlMs: Number(settings.route_cache_ttl_ms),
      keyLeaseMs: Number(settings.p2p_key_lease_duration_ms) || KEY_LEASE_DEFAULT_MS,
      masterWaitMs: Infinity, // A node outlives its master, also one that is not there yet.
    },
  }
}

function tiersOf(settings: Settings): Pick<StoreConfig, 'tiers' | 'scheduler'> {
  const text = String(settings.tiered_backend_config ?? '')
  const prefault = settings.dram_prefault !== false
  if (text === '') {
    const capacityBytes = Number(settings.global_segment_size)
    return { tiers: [dram({ name: 'dram-0', capacityBytes, prefault })] }
  }
  const { tiers, hasDisk, scheduler } = parseTiers(text, { prefault })
  if (hasDisk && settings.p2p_transfer_direction_mode === 'forward') {
    const message =
      '--p2p_transfer_direction_mode: callers cannot read a disk of --tiered_backend_config; use reverse'
    throw new MooncakeError('ERR_CONFIG', message)
  }
  if (settings.tier_scheduler !== false) return { tiers, ...(scheduler == null ? {} : { scheduler }) }
  if (scheduler == null) return { tiers, scheduler: false }
  throw new MooncakeError(
    'ERR_CONFIG',
    '--tier_scheduler: false, but --tiered_backend_config has a scheduler',
  )
}

function nodeName(settings: Settings): string {
  const name = String(settings.name ?? '')
  return name === '' ? `${hostname()}:${String(settings.client_rpc_port)}` : name
}
