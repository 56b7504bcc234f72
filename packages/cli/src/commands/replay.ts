import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { formatBytes, GIB, systemClock } from '@mooncake-ts/core'
import { LOCAL_HOST, MASTER_ADDRESS, TENANT_ID } from '../flags/client.js'
import { commonFlags, securityOf } from '../flags/common.js'
import { HELP_SHOWN, loadSettings, refuseIgnored, type Settings } from '../flags/load.js'
import type { Flag } from '../flags/spec.js'
import { refuseWrongTransport, TRANSPORT_FLAGS, transportEnvironment } from '../flags/transports.js'
import { untilStopped } from '../process/run.js'
import { programPath, START_TIMEOUT_MS } from '../replay/child.js'
import { CAPACITY_BYTES, findPinnable, pinnableCapacity } from '../replay/capacity.js'
import { LOOPBACK, LocalCluster } from '../replay/cluster.js'
import { Driver } from '../replay/driver.js'
import { report, showProgress, type ReplayResult } from '../replay/report.js'
import { generateConversations, readTrace, TOKENS_PER_BLOCK } from '../replay/workload.js'
import { connect } from './objects.js'
import { REPLAY_SUMMARY } from './summaries.js'

/** Settings of `mooncake replay`. */
export const REPLAY_FLAGS: readonly Flag[] = [
  ...commonFlags('warn'),
  {
    name: MASTER_ADDRESS.name,
    type: 'string',
    default: '',
    help: 'Drive this running cluster instead of starting one',
  },
  LOCAL_HOST,
  {
    name: 'trace',
    type: 'string',
    help: 'JSON-lines trace to replay; empty: generated conversations',
    default: '',
  },
  { name: 'requests', type: 'int', help: 'Requests to replay at most', default: 1000, min: 1 },
  {
    name: 'bytes_per_token',
    type: 'int',
    help: 'KV-cache bytes of one token; a block has 512 tokens',
    default: 256,
    min: 1,
  },
  { name: 'nodes', type: 'int', help: 'Data nodes to start', default: 2, min: 1 },
  {
    name: 'capacity',
    type: 'bytes',
    help: 'DRAM of each data node (default 1 GiB, less where RDMA could not pin as much)',
    min: 1,
  },
  {
    name: 'ssd',
    type: 'string',
    help: 'Directory for an SSD tier of each data node, which keeps its objects; empty: none',
    default: '',
  },
  { name: 'ssd_capacity', type: 'bytes', help: 'SSD space of each data node', default: 4 * GIB, min: 1 },
  {
    name: 'replicas',
    type: 'int',
    help: 'Whole copies of each block, each on another node',
    default: 1,
    min: 1,
  },
  { name: 'concurrency', type: 'int', help: 'Requests under way at a time', default: 4, min: 1 },
  {
    name: 'start_timeout',
    type: 'durationMs',
    help: 'How long the master and each node may take to start',
    default: START_TIMEOUT_MS,
    min: 1,
  },
  ...TRANSPORT_FLAGS,
  TENANT_ID,
  { name: 'json', type: 'string', help: 'File for the figures', default: '' },
  { name: 'keep', type: 'bool', help: 'Leave the cluster running and say how to talk to it', default: false },
]

/** What a cluster that runs has already. */
const OF_NEW_CLUSTER = ['nodes', 'capacity', 'ssd', 'ssd_capacity', 'start_timeout', 'keep']

/**
 * `mooncake replay`: one master, data nodes and a driver as processes of their own; or only the driver, for a
 * cluster that runs.
 */
export async function runReplay(argv: readonly string[]): Promise<number> {
  const invocation = loadSettings({
    program: 'mooncake replay',
    summary: REPLAY_SUMMARY,
    flags: REPLAY_FLAGS,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  const { settings } = invocation
  refuseWrongTransport(invocation)
  // The driver of a new cluster gets the words that were meant for all.
  const isDriver = process.send != null
  if (settings.master_server_address !== '' && !isDriver) {
    refuseIgnored(invocation, OF_NEW_CLUSTER, 'with --master_server_address, of a cluster that runs')
  }
  if (settings.master_server_address === '') return await replayInNewCluster(settings, argv)
  const result = await drive(settings)
  if (!isDriver) return await report(result, String(settings.json))
  await new Promise(resolve => process.send!(result, resolve))
  process.disconnect()
  return 0
}

async function replayInNewCluster(settings: Settings, argv: readonly string[]): Promise<number> {
  const nodes = Number(settings.nodes)
  const capacityBytes = capacityOf(settings, nodes)
  const { secret } = securityOf(settings)
  const env: Record<string, string> = {
    ...transportEnvironment(settings),
    ...(secret == null ? {} : { MOONCAKE_CLUSTER_SECRET: secret }),
  }
  const stopping = new AbortController()
  const stopped = untilStopped().finally(() => {
    stopping.abort()
  })
  const ssd =
    settings.ssd === ''
      ? undefined
      : { directory: String(settings.ssd), capacityBytes: Number(settings.ssd_capacity) }
  const size = `${formatBytes(capacityBytes)}${ssd == null ? '' : ` and ${formatBytes(ssd.capacityBytes)} of SSD`}`
  process.stdout.write(`Starting 1 master and ${nodes} data nodes of ${size}\n`)
  let outcome: DriverOutcome
  let readsByTier: Record<string, number> = {}
  {
    await using cluster = await LocalCluster.start({
      nodes,
      capacityBytes,
      ssd,
      env,
      startTimeoutMs: Number(settings.start_timeout),
    })
    const target = [`--host=${LOOPBACK}`, `--master_server_address=${cluster.masterEndpoint}`]
    outcome = await runDriver([...argv, ...target], stopping.signal)
    if (outcome.result != null) readsByTier = await cluster.countByTier('store_tier_reads_total')
    if (settings.keep === true && !stopping.signal.aborted) {
      sayHowToTalk(cluster)
      await stopped
    }
  }
  if (outcome.result == null) return outcome.exitCode
  return await report({ ...outcome.result, readsByTier }, String(settings.json))
}

function capacityOf(settings: Settings, nodes: number): number {
  if (settings.capacity != null) return Number(settings.capacity)
  if (settings.transport !== 'rdma' && settings.protocol !== 'rdma') return CAPACITY_BYTES
  const capacityBytes = pinnableCapacity(findPinnable(), nodes)
  if (capacityBytes < CAPACITY_BYTES) {
    const wanted = formatBytes(CAPACITY_BYTES)
    process.stdout.write(`RDMA pins memory, and ${wanted} for each data node is more than it may here.\n`)
  }
  return capacityBytes
}

interface DriverOutcome {
  /** Absent when it failed, which it has told already. */
  readonly result?: ReplayResult
  readonly exitCode: number
}

/** The driver is a process of its own, as an inference engine would be. */
async function runDriver(argv: readonly string[], signal: AbortSignal): Promise<DriverOutcome> {
  if (signal.aborted) return { exitCode: EXIT_STOPPED }
  const child = spawn(process.execPath, [programPath('mooncake'), 'replay', ...argv], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const stop = (): boolean => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  let result: ReplayResult | undefined
  child.on('message', message => {
    result = message as ReplayResult
  })
  // Its last message may come after its exit.
  const [[code]] = (await Promise.all([once(child, 'exit'), once(child, 'disconnect')])) as [
    [number | null],
    unknown,
  ]
  signal.removeEventListener('abort', stop)
  if (result != null) return { result, exitCode: 0 }
  return { exitCode: code == null || code === 0 ? EXIT_STOPPED : code }
}

/** Of a replay that was ended before there was anything to report; as shells say it. */
const EXIT_STOPPED = 130

async function drive(settings: Settings): Promise<ReplayResult> {
  const requestsMax = Number(settings.requests)
  const blockBytes = Number(settings.bytes_per_token) * TOKENS_PER_BLOCK
  const trace = String(settings.trace)
  const stopping = new AbortController()
  void untilStopped().then(() => {
    stopping.abort() // The first signal ends the replay early, but in good order.
  })
  await using store = await connect(settings, `driver-${process.pid}`)
  const progress = showProgress(requestsMax, () => systemClock.nowMs())
  const driver = new Driver(store, {
    blockBytes,
    replicas: Number(settings.replicas),
    concurrency: Number(settings.concurrency),
    requestsMax,
    onProgress: counts => {
      progress.update(counts)
    },
  })
  const startedMs = systemClock.nowMs()
  try {
    await driver.run(trace === '' ? generateConversations() : readTrace(trace), stopping.signal)
  } finally {
    progress.stop()
  }
  const seconds = (systemClock.nowMs() - startedMs) / 1000
  const setting = {
    workload: trace === '' ? 'generated conversations' : trace,
    'block size': formatBytes(blockBytes),
    replicas: Number(settings.replicas),
    transport: String(settings.transport),
    rpc: String(settings.rpc_protocol),
  }
  return { counts: driver.counts, seconds, setting }
}

function sayHowToTalk({ masterEndpoint, adminEndpoint }: LocalCluster): void {
  process.stdout.write(
    [
      'The cluster stays up; Ctrl-C stops it. Talk to it with:',
      `  export MOONCAKE_MASTER=${masterEndpoint}`,
      '  npx mooncake ls --limit 10',
      '  npx mooncake put hello README.md && npx mooncake get hello -',
      `  curl http://${adminEndpoint}/metrics/summary`,
      `  npx mooncake replay --master_server_address ${masterEndpoint} --requests 100`,
      '',
    ].join('\n'),
  )
}
