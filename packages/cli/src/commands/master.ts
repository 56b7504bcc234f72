import { networkInterfaces } from 'node:os'
import { MooncakeError } from '@mooncake-ts/core'
import { createMaster } from '@mooncake-ts/master'
import { prometheus } from '@mooncake-ts/metrics-prometheus'
import { rpc } from '@mooncake-ts/rpc'
import { hostOf, securityOf } from '../flags/common.js'
import { HELP_SHOWN, loadSettings, type Settings } from '../flags/load.js'
import { MASTER_FLAGS } from '../flags/master.js'
import { carriersOf, refuseIgnoredRdma } from '../flags/rdma.js'
import { createLogger } from '../process/logging.js'
import { untilStopped } from '../process/run.js'

/** `mooncake_master`: the directory of a cluster, until it is told to stop. */
export async function runMaster(argv: readonly string[]): Promise<number> {
  const summary = 'The directory of a cluster: who is alive, which node holds which key, where to write next.'
  const invocation = loadSettings({
    program: 'mooncake_master',
    summary,
    flags: MASTER_FLAGS,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  const { settings } = invocation
  refuseIgnoredRdma(invocation, false)
  const security = securityOf(settings)
  const host = hostOf({ host: addressOf(settings) }, security)
  if (Number(settings.client_crashed_ttl) <= Number(settings.client_ttl)) {
    throw new MooncakeError('ERR_CONFIG', '--client_crashed_ttl: expected more than --client_ttl')
  }
  const logger = createLogger(String(settings.log_level))
  const stopped = untilStopped()
  await using master = await createMaster({
    security,
    logger,
    metrics: prometheus(),
    rpc: rpc({ listen: [`${host}:${Number(settings.rpc_port) || Number(settings.port)}`] }),
    rpcCarriers: carriersOf(settings),
    metricsHost: String(settings.metrics_host ?? '') || host,
    metricsPort: Number(settings.metrics_port),
    metricReportMs: settings.enable_metric_reporting === true ? REPORT_INTERVAL_MS : 0,
    clientTtlMs: Number(settings.client_ttl) * 1000,
    clientCrashedTtlMs: Number(settings.client_crashed_ttl) * 1000,
    maxClientPerKey: Number(settings.max_client_per_key),
  })
  logger.info('Serving', { rpc: master.rpcEndpoint, http: master.httpEndpoint })
  process.stdout.write(`READY rpc=${master.rpcEndpoint} http=${master.httpEndpoint}\n`)
  logger.info(`Stopping: ${await stopped}`)
  return 0
}

/** As in the reference system. */
const REPORT_INTERVAL_MS = 10_000

/** Empty where none was asked for. @throws ERR_CONFIG */
function addressOf({ rpc_address: address, rpc_interface: name }: Settings): string {
  if (name === '') return String(address)
  const found = networkInterfaces()[String(name)]?.find(candidate => candidate.family === 'IPv4')
  if (found == null)
    throw new MooncakeError(
      'ERR_CONFIG',
      `--rpc_interface: no interface ${String(name)} with an IPv4 address`,
    )
  return found.address
}
