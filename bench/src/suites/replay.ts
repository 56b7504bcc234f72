import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programPath } from '@mooncake-ts/cli'
import { resultOf } from '../harness/compare.js'
import type { Result } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'
import { run } from '../rivals/cache.js'

const NODES = 2
const SHORT = { requests: 20, bytesPerToken: 16, capacityBytes: 64 * 2 ** 20 }
const FULL = { requests: 400, bytesPerToken: 256, capacityBytes: 2 ** 30 }

/** What `mooncake replay --json` writes. */
interface Replayed {
  readonly requests: number
  readonly bytesRead: number
  readonly bytesPut: number
  readonly mismatches: number
  readonly failed: number
  readonly seconds: number
  readonly hitRatio: number
}

/** A workload of an inference engine through a cluster of two nodes, every byte compared. */
export const replaySuite: Suite = {
  name: 'replay',
  summary:
    'a recorded or generated conversation workload through a cluster of two nodes, every byte verified',
  async run(context) {
    const dir = await mkdtemp(join(tmpdir(), 'mooncake-bench-replay-'))
    try {
      const rounds: Replayed[] = []
      for (let round = 0; round < context.rounds; round++) {
        rounds.push(await replay(context, join(dir, 'replay.json')))
        context.say(`replay round ${round + 1}`)
      }
      return resultsOf(rounds)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  },
}

/** @throws where a byte is wrong or a request failed: the program says so by its exit code */
async function replay({ short, traceFile }: SuiteContext, json: string): Promise<Replayed> {
  const { requests, bytesPerToken, capacityBytes } = short ? SHORT : FULL
  const flags = {
    requests,
    bytes_per_token: bytesPerToken,
    nodes: NODES,
    capacity: capacityBytes,
    json,
    ...(traceFile != null && { trace: traceFile }),
  }
  const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)
  await run(process.execPath, [programPath('mooncake'), 'replay', ...args], { timeout: 300_000 })
  return JSON.parse(await readFile(json, 'utf8')) as Replayed
}

function resultsOf(rounds: readonly Replayed[]): Result[] {
  const figure = (name: string, unit: string, value: (replayed: Replayed) => number): Result =>
    resultOf(
      { name: `replay/${name}`, unit },
      rounds.map(replayed => ({ value: value(replayed) })),
    )
  return [
    figure(
      'throughput',
      'GB/s',
      ({ bytesRead, bytesPut, seconds }) => (bytesRead + bytesPut) / seconds / 1e9,
    ),
    figure('requests', 'requests/s', ({ requests, seconds }) => requests / seconds),
    figure('hitRatio', 'of blocks', ({ hitRatio }) => hitRatio),
  ]
}
