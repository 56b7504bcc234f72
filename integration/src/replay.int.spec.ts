import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { readdirSync, readFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { programPath } from '@mooncake-ts/cli'
import { until } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { Cluster } from './support/cluster.js'
import { runProgram, start, type Run } from './support/programs.js'
import { valueOf } from './support/values.js'

const OK =
  /^OK replayed (\d+) requests, (\d+) blocks, hit ratio (0\.\d{4}), (\d+) bytes verified, 0 mismatches$/
/** Small enough for a quick test. */
const SMALL_BLOCKS = '--bytes-per-token=64'
const SMALL = ['--capacity=128MiB', SMALL_BLOCKS]

describe('mooncake replay', function () {
  this.timeout(90_000)
  let dir: string

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mooncake-replay-'))
  })
  after(async () => {
    await rm(dir, { recursive: true, force: true })
  })

  const replay = (...args: string[]): Promise<Run> =>
    runProgram('mooncake', ['replay', ...SMALL, ...args], { timeoutMs: 60_000 })

  function lastLine(run: Run): string {
    return run.stdout.toString().trimEnd().split('\n').at(-1)!
  }

  it('ends with the line for programs, and with the figures in a file', async () => {
    const json = join(dir, 'out.json')
    const run = await replay('--requests', '60', '--json', json)
    expect(run.code, run.stderr).to.equal(0)
    const [, requests, blocks, ratio, bytes] = OK.exec(lastLine(run))!.map(Number) as [
      number,
      number,
      number,
      number,
      number,
    ]
    expect(requests).to.equal(60)
    const figures = JSON.parse(await readFile(json, 'utf8')) as Record<string, number>
    expect(figures).to.include({ requests, blocks, bytesVerified: bytes, mismatches: 0, failed: 0 })
    expect(figures.hitRatio).to.be.closeTo(ratio, 1e-4)
    expect(figures.bytesPut! + bytes).to.equal(blocks * 512 * 64)
    expect(bytes).to.be.above(0)
  })

  it('replays over TCP, which processes of one host only use when they are told to', async () => {
    const json = join(dir, 'tcp.json')
    const run = await replay('--transport=tcp', '--requests=60', '--json', json)
    expect(run.code, run.stderr).to.equal(0)
    expect(lastLine(run)).to.match(OK)
    const figures = JSON.parse(await readFile(json, 'utf8')) as { hits: number; setting: object }
    expect(figures.setting).to.include({ transport: 'tcp' })
    expect(figures.hits).to.be.above(0)
  })

  it('replays a trace, over three nodes with two replicas of each block', async () => {
    const trace = join(dir, 'trace.jsonl')
    const requests = Array.from({ length: 30 }, (_, index) => ({
      timestamp: index,
      input_length: 2000,
      output_length: 10,
      hash_ids: [0, 1, index % 5 === 0 ? 2 : 10 + index, 100 + index],
    }))
    await writeFile(trace, requests.map(request => `${JSON.stringify(request)}\n`).join(''))
    // One at a time: then the number of hits is known.
    const run = await replay('--trace', trace, '--nodes=3', '--replicas=2', '--concurrency=1')
    expect(run.code, run.stderr).to.equal(0)
    // After the first request the leading two are there; every fifth finds a third one.
    const hits = 29 * 2 + 5
    expect(lastLine(run)).to.equal(
      `OK replayed 30 requests, 120 blocks, hit ratio ${(hits / 120).toFixed(4)}, ${hits * 512 * 64} bytes verified, 0 mismatches`,
    )
  })

  it('hits more with an SSD tier below too little memory, every byte right, and again after a restart', async () => {
    const small = ['--requests=100', '--capacity=12MiB', '--concurrency=2', '--ssd_capacity=512MiB']
    const ssd = ['--ssd', join(dir, 'ssd'), '--json', join(dir, 'ssd.json')]
    const [without, cold] = [await replay(...small), await replay(...small, ...ssd)]
    const ratioOf = (run: Run): number => Number(OK.exec(lastLine(run))?.[3])
    expect(cold.code, cold.stderr).to.equal(0)
    expect(ratioOf(cold), lastLine(without)).to.be.above(ratioOf(without) * 1.1)
    const { readsByTier } = JSON.parse(await readFile(join(dir, 'ssd.json'), 'utf8')) as {
      readsByTier: Record<string, number>
    }
    expect(readsByTier['dram-0']).to.be.above(0)
    expect(readsByTier['ssd-1']).to.be.above(0)
    const warm = await replay(...small, ...ssd)
    expect(warm.code, warm.stderr).to.equal(0)
    expect(ratioOf(warm), 'what the disks kept').to.be.above(ratioOf(cold))
  }).timeout(180_000)

  it('names the line of a trace that it does not understand', async () => {
    const trace = join(dir, 'bad.jsonl')
    await writeFile(trace, '{"input_length": 5, "hash_ids": [1]}\n\n{"input_length": 5, "hash_ids": [1.5]}\n')
    const [bad, missing] = await Promise.all([
      replay('--trace', trace),
      replay('--trace', join(dir, 'missing')),
    ])
    for (const [run, where] of [
      [bad, `${trace}:3`],
      [missing, join(dir, 'missing')],
    ] as const) {
      expect(run.code).to.equal(2)
      expect(run.stderr)
        .to.match(/^mooncake: [^\n]*\(ERR_CONFIG\)\n$/m)
        .and.to.include(where)
      expect(run.stdout.toString()).not.to.include('OK')
    }
  })

  it('takes wrong bytes for what they are: FAILED, and exit code 1', async () => {
    await using cluster = await Cluster.start()
    await cluster.startNode('node-0')
    const store = await cluster.connect('saboteur')
    // All requests begin with block 0.
    await store.put(`replay/${512 * 64}/0`, valueOf('not the block', 512 * 64))
    const target = `--master_server_address=${cluster.masterEndpoint}`
    const run = await runProgram('mooncake', ['replay', SMALL_BLOCKS, '--requests=5', target])
    expect(run.code).to.equal(1)
    expect(lastLine(run)).to.match(/^FAILED replayed 5 requests, .* [1-9]\d* mismatches$/)
  })

  for (const [signal, after] of [
    ['SIGINT', 'the replay'],
    ['SIGKILL', 'nobody to stop them'],
  ] as const) {
    it(`leaves no process behind after ${signal}, with ${after}`, async () => {
      const child = start(
        process.execPath,
        [programPath('mooncake'), 'replay', ...SMALL, '--requests=1000000'],
        {
          env: { TMPDIR: dir },
        },
      )
      let [stdout, stderr] = ['', '']
      child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
      child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
      try {
        await until(() => /[1-9]\d*\/1000000 requests/.test(stderr), { deadlineMs: 30_000 })
        const family = descendantsOf(child.pid!)
        expect(family, 'a master, two nodes and a driver').to.have.length(4)
        child.kill(signal)
        if (signal === 'SIGINT') {
          const [code] = (await once(child, 'close')) as [number]
          expect(code).to.equal(0)
          expect(stdout.trimEnd().split('\n').at(-1)).to.match(OK)
        }
        await until(() => family.every(pid => !isAlive(pid)), { deadlineMs: 20_000 })
      } finally {
        child.kill('SIGKILL')
      }
    })
  }
})

function descendantsOf(pid: number): number[] {
  const children = readdirSync('/proc')
    .map(Number)
    .filter(other => Number.isInteger(other) && parentOf(other) === pid)
  return [...children, ...children.flatMap(descendantsOf)]
}

function parentOf(pid: number): number | undefined {
  return Number(statusOf(pid)?.match(/^PPid:\s*(\d+)/m)?.[1])
}

/** A zombie that nobody waits for has ended too. */
function isAlive(pid: number): boolean {
  const state = statusOf(pid)?.match(/^State:\s*(\w)/m)?.[1]
  return state != null && state !== 'Z'
}

function statusOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return undefined // It has ended.
  }
}
