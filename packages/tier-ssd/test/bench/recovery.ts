/**
 * How long a tier, and a whole node over it, need to come back, by the number of their objects: `node
 * dist-test/bench/recovery.js 1000000`. The index is real; the data files are holes, because recovery does not
 * look at them. The master is a process of its own.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type Host, LOGGER, TIER, value, type Logger } from '@mooncake-ts/core'
import { createIoEngine } from '@mooncake-ts/io-uring'
import { memory } from '@mooncake-ts/memory'
import { createMaster, masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore } from '@mooncake-ts/store'
import { inProcess, InProcessNetwork, testHost } from '@mooncake-ts/testkit'
import { ssd } from '@mooncake-ts/tier-ssd'
import { TierDirectory } from '../../dist/directory.js'
import { IndexLog } from '../../dist/index-log.js'
import { encodeAdd } from '../../dist/index-record.js'

const OBJECT_BYTES = 20_000
const PLACE_BYTES = 5 * 4096
/** Appended before the next pause. */
const GROUP = 5000

const silent: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silent,
}

async function makeIndex(directory: string, objects: number): Promise<void> {
  const { seed } = await TierDirectory.open({
    path: directory,
    clusterId: undefined,
    fileBytes: 2 ** 34,
  }).then(async opened => (await opened.close(), opened))
  const engine = createIoEngine()
  const log = await IndexLog.open(
    { directory, engine, seed, logger: silent, slackBytes: Infinity, isLive: () => true },
    () => {},
    () => ({ liveBytes: 0, isStale: false }),
  )
  for (let row = 0; row < objects; row += GROUP) {
    const count = Math.min(GROUP, objects - row)
    await Promise.all(Array.from({ length: count }, (_, i) => log.append(recordOf(row + i))))
  }
  await log.close()
  await engine.close()
}

/** Keys as engines make them: a model, a hash of a prefix, a rank. */
function recordOf(row: number): Buffer {
  const hash = Math.imul(row + 1, 0x9e37_79b1) >>> 0
  const key = `model-7b@${hash.toString(16).padStart(8, '0')}${row.toString(16).padStart(24, '0')}@tp0`
  const identity = { key, generation: 2 ** 51 + row, byteLength: OBJECT_BYTES, checksum: hash }
  return encodeAdd({ row, serial: row + 1, offset: row * PLACE_BYTES, checksum: hash, identity })
}

async function measureTier(directory: string, capacityBytes: number): Promise<void> {
  const cpu = process.cpuUsage()
  const begunMs = performance.now()
  const plugins = [value(LOGGER, silent), memory(), ssd({ directory, capacityBytes, preallocate: false })]
  const host: Host = await testHost(plugins)
  const startedMs = performance.now()
  let found = 0
  for await (const { allocation } of host.get(TIER).recover!())
    if (allocation.byteLength === OBJECT_BYTES) found++
  const endedMs = performance.now()
  const { user, system } = process.cpuUsage(cpu)
  const cpuMs = (user + system) / 1000
  const parts = `start ${(startedMs - begunMs).toFixed(0)} ms, recover ${(endedMs - startedMs).toFixed(0)} ms`
  process.stdout.write(
    `${found} objects in ${(endedMs - begunMs).toFixed(0)} ms (${cpuMs.toFixed(0)} ms of CPU): ${parts}\n`,
  )
  await host.stop()
}

/** Until the node serves what it has found; then it tells the master. */
async function measureNode(directory: string, capacityBytes: number, masterEndpoint: string): Promise<void> {
  const cpu = process.cpuUsage()
  const begunMs = performance.now()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const store = await createStore({
    name: 'node',
    logger: silent,
    master: masterClient({ endpoints: [masterEndpoint] }),
    rpc: rpc({ listen: ['127.0.0.1:0'] }),
    transports: [inProcess({ network: new InProcessNetwork() })],
    tiers: [ssd({ directory, capacityBytes, preallocate: false })],
  })
  const tookMs = performance.now() - begunMs
  delay.disable()
  const { user, system } = process.cpuUsage(cpu)
  const cpuMs = (user + system) / 1000
  const parts = `${cpuMs.toFixed(0)} ms of CPU, event loop blocked for ${(delay.max / 1e6).toFixed(0)} ms at most`
  process.stdout.write(`a node serves them after ${tookMs.toFixed(0)} ms (${parts})\n`)
  await store.close()
}

async function runMaster(): Promise<void> {
  const master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), admin: false })
  process.send!(master.rpcEndpoint)
  await once(process, 'disconnect')
  await master.close()
}

async function main(objects: number): Promise<void> {
  const directory = mkdtempSync('/var/tmp/mooncake-ssd-recovery-')
  const master = fork(process.argv[1]!, ['master'])
  try {
    const [masterEndpoint] = (await once(master, 'message')) as [string]
    await makeIndex(directory, objects)
    const names = (await readdir(directory)).filter(name => name.startsWith('index-'))
    const bytes = names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    process.stdout.write(`an index of ${(bytes / 1e6).toFixed(0)} MB\n`)
    const capacityBytes = objects * PLACE_BYTES
    for (let round = 0; round < 3; round++) await measureTier(directory, capacityBytes)
    for (let round = 0; round < 3; round++) await measureNode(directory, capacityBytes, masterEndpoint)
  } finally {
    master.disconnect()
    rmSync(directory, { recursive: true })
  }
}

if (process.argv[2] === 'master') await runMaster()
else await main(Number(process.argv[2] ?? 1_000_000))
