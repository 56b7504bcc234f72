import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { formatBytes, GIB, MooncakeError, systemClock } from '@mooncake-ts/core'
import { MASTER_ADDRESS } from '../flags/client.js'
import { COMMON_FLAGS } from '../flags/common.js'
import { HELP_SHOWN, loadSettings, type Settings } from '../flags/load.js'
import type { Flag } from '../flags/spec.js'
import { untilStopped } from '../process/run.js'
import { programPath } from '../replay/child.js'
import { LocalCluster } from '../replay/cluster.js'
import { Driver } from '../replay/driver.js'
import { report, showProgress, type ReplayResult } from '../replay/report.js'
import { generateConversations, readTrace, TOKENS_PER_BLOCK } from '../replay/workload.js'
import { connect } from './objects.js'

const REPLAY_FLAGS: readonly Flag[] = [
  ...COMMON_FLAGS.map(flag => (flag.name === 'log_level' ? { ...flag, default: 'warn' } : flag)),
  {
    name: MASTER_ADDRESS.name,
    type: 'string',
    default: '',
    help: 'Drive this running cluster instead of starting one',
  },
  {
    name: 'trace',
    type: 'string',
    help: 'JSON-lines trace to replay; empty: generated conversations',
    default: '',
  },
  { name: 'requests', type: 'int', help: 'Requests to replay at most', default: 1000 },
  {
    name: 'bytes_per_token',
    type: 'int',
    help: 'KV-cache bytes of one token; a block has 512 tokens',
    default: 256,
  },
  { name: 'nodes', type: 'int', help: 'Data nodes to start', default: 2 },
  { name: 'capacity', type: 'bytes', help: 'DRAM of each data node', default: GIB },
  { name: 'replicas', type: 'int', help: 'Whole copies of each block, each on another node', default: 1 },
  { name: 'concurrency', type: 'int', help: 'Requests under way at a time', default: 4 },
  { name: 'transport', type: 'string', help: 'How bytes move', default: 'tcp', choices: ['tcp'] },
  { name: 'json', type: 'string', help: 'File for the figures', default: '' },
  { name: 'keep', type: 'bool', help: 'Leave the cluster running and say how to talk to it', default: false },
]

/** `mooncake replay`: one master, data nodes and a driver as processes of their own; or only the driver, for a cluster that runs. */
export async function runReplay(argv: readonly string[]): Promise<number> {
  const summary = 'Replay a KV-cache workload through a cluster on this machine, every byte verified.'
  const invocation = loadSettings({
    program: 'mooncake replay',
    summary,
    flags: REPLAY_FLAGS,
    argv,
    env: process.env,
  })
  if (invocation === HELP_SHOWN) return 0
  const { settings } = invocation
  for (const name of ['requests', 'bytes_per_token', 'nodes', 'capacity', 'replicas', 'concurrency']) {
    if (Number(settings[name]) === 0) throw new MooncakeError('ERR_CONFIG', `--${name}: expected more than 0`)
  }
  if (settings.master_server_address === '') return await replayInNewCluster(settings, argv)
  const result = await drive(settings)
  if (process.send != null) {
    process.send(result)
    process.disconnect()
    return 0
  }
  return await report(result, String(settings.json))
}

async function replayInNewCluster(settings: Settings, argv: readonly string[]): Promise<number> {
  const nodes = Number(settings.nodes)
  const capacityBytes = Number(settings.capacity)
  process.stdout.write(`Starting 1 master and ${nodes} data nodes of ${formatBytes(capacityBytes)}\n`)
  let result: ReplayResult
  {
    await using cluster = await LocalCluster.start({ nodes, capacityBytes })
    result = await runDriver(argv, cluster.masterEndpoint)
    if (settings.keep === true) await keep(cluster)
  }
  return await report(result, String(settings.json))
}

/** The driver is a process of its own, as an inference engine would be. */
async function runDriver(argv: readonly string[], masterEndpoint: string): Promise<ReplayResult> {
  const args = [programPath('mooncake'), 'replay', ...argv, `--master_server_address=${masterEndpoint}`]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const stop = (): boolean => child.kill('SIGTERM')
  process.once('SIGINT', stop).once('SIGTERM', stop)
  let result: ReplayResult | undefined
  child.on('message', message => {
    result = message as ReplayResult
  })
  await once(child, 'exit')
  process.off('SIGINT', stop).off('SIGTERM', stop)
  if (result == null) throw new MooncakeError('ERR_INTERNAL', 'The driver ended without a result')
  return result
}

async function drive(settings: Settings): Promise<ReplayResult> {
  const requestsMax = Number(settings.requests)
  const blockBytes = Number(settings.bytes_per_token) * TOKENS_PER_BLOCK
  const trace = String(settings.trace)
  const stopping = new AbortController()
  const stop = (): void => {
    stopping.abort() // The first signal ends the replay early, but in good order.
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)
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
  }
  return { counts: driver.counts, seconds, setting }
}

async function keep(cluster: LocalCluster): Promise<void> {
  const { masterEndpoint, adminEndpoint } = cluster
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
  await untilStopped()
}
