/**
 * How long a tier needs to come back, by the number of its objects: `node dist-test/bench/recovery.js
 * 1000000`. The index is real; the data files are holes, because recovery does not look at them.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Host, LOGGER, TIER, value, type Logger } from '@mooncake-ts/core'
import { createIoEngine } from '@mooncake-ts/io-uring'
import { memory } from '@mooncake-ts/memory'
import { testHost } from '@mooncake-ts/testkit'
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

async function measure(directory: string, capacityBytes: number): Promise<void> {
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

const objects = Number(process.argv[2] ?? 1_000_000)
const directory = mkdtempSync('/var/tmp/mooncake-ssd-recovery-')
try {
  await makeIndex(directory, objects)
  const names = (await readdir(directory)).filter(name => name.startsWith('index-'))
  const bytes = names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
  process.stdout.write(`an index of ${(bytes / 1e6).toFixed(0)} MB\n`)
  for (let round = 0; round < 3; round++) await measure(directory, objects * PLACE_BYTES)
} finally {
  rmSync(directory, { recursive: true })
}
