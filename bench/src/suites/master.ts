import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { programPath } from '@mooncake-ts/cli'
import { DIRECTORY, Host, type Directory, type ReplicaAdd } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { compare, resultOf } from '../harness/compare.js'
import { measure } from '../harness/measure.js'
import type { Result } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'

const KEY_BYTES = 64
const BATCH = 128
/** Batches under way at a time, from one client. */
const DEPTH = 8
const SYNC_BATCH = 2000

/** How fast one client asks for keys, and what a million of them cost. */
export const masterSuite: Suite = {
  name: 'master',
  summary: `exists in batches of ${BATCH} from one client, and memory per key`,
  async run(context) {
    const keyCount = context.short ? 10_000 : 1_000_000
    const child = spawn(
      process.execPath,
      [programPath('mooncake_master'), '--port=0', '--metrics_port=0', '--log_level=warn'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    const [ready] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const endpoint = /rpc=(\S+)/.exec(ready)![1]!
    const host = await new Host([
      rpc({ listen: ['127.0.0.1:0'] }),
      masterClient({ endpoints: [endpoint] }),
    ]).start()
    try {
      const directory = host.get(DIRECTORY)
      await join(directory)
      const emptyBytes = residentBytes(child.pid!)
      await load(directory, keyCount)
      const perKey = (residentBytes(child.pid!) - emptyBytes) / keyCount
      context.say(`master: ${keyCount} keys loaded`)
      const results = await exists(context, directory, keyCount)
      const name = `master/memory/${KEY_BYTES}BKeys/${keyCount}Keys`
      const memory = resultOf({ name, unit: 'bytes/key (resident set)', better: 'less' }, [{ value: perKey }])
      return [...results, memory]
    } finally {
      await host.stop()
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
  },
}

async function exists(context: SuiteContext, directory: Directory, keyCount: number): Promise<Result[]> {
  let next = 0
  const ask = async (): Promise<number> => {
    const keys = Array.from({ length: BATCH }, () => keyOf((next += 7919) % keyCount))
    const answers = await directory.exists(keys)
    if (answers.includes(false)) throw new Error('A key that was put does not exist')
    return BATCH
  }
  const results: Result[] = []
  for (const depth of [1, DEPTH]) {
    results.push(
      await compare(context, {
        name: `master/exists/batch${BATCH}/depth${depth}`,
        unit: 'keys/s',
        ours: durationMs => measure(ask, { durationMs, depth }),
      }),
    )
  }
  return results
}

/** As a node with room for everything. */
async function join(directory: Directory): Promise<void> {
  const segment = {
    name: SEGMENT,
    kind: 'DRAM',
    priority: 100,
    tags: [],
    capacityBytes: 2 ** 40,
    usedBytes: 0,
  }
  await directory.join(
    { nodeId: 'bench-node', name: 'bench', rpcEndpoint: '127.0.0.1:1', segments: [segment] },
    {
      removeLocal: () => Promise.resolve(0),
      removeWhere: () => Promise.resolve(0),
      snapshot: () => [],
      segments: () => [segment],
    },
    new AbortController().signal,
  )
}

async function load(directory: Directory, keyCount: number): Promise<void> {
  for (let done = 0; done < keyCount; done += SYNC_BATCH) {
    const adds = Array.from({ length: Math.min(SYNC_BATCH, keyCount - done) }, (_, index): ReplicaAdd => ({
      key: keyOf(done + index),
      byteLength: 4096,
      generation: 1,
      segment: SEGMENT,
    }))
    await directory.syncReplicas(adds, [])
  }
}

const SEGMENT = 'bench/dram-0'

function keyOf(index: number): string {
  return index.toString(16).padStart(KEY_BYTES, 'k')
}

/** Memory of a process that is really there, from the kernel's own account. */
function residentBytes(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(kilobytes![1]) * 1024
}
