import { chmodSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Contender } from '../harness/compare.js'
import { Program } from '../harness/programs.js'
import type { PoolSizes } from '../harness/suite.js'
import { cachePath, run } from './cache.js'
import { ENV, Mooncake } from './mooncake.js'

const READY_DEADLINE_MS = 20_000
const POLL_MS = 50
/** Its largest loss of time is at its start and end, so it gets more than the others. */
const SECONDS = 1

/** Its address and its figure are log lines. */
const LOGGING_ENV = { ...ENV, GLOG_minloglevel: '0', GLOG_logtostderr: '1', MC_LOG_LEVEL: 'INFO' }

export interface TransferEngineSetting {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  /** Transfers under way at a time: two threads with half of them each. */
  readonly depth: number
}

/** The real Mooncake's transfer engine without a store, by its own `transfer_engine_bench` over TCP. */
export class TransferEngine implements AsyncDisposable {
  readonly #target: Program
  readonly #segment: string
  readonly #poolBytes: number

  private constructor(target: Program, segment: string, poolBytes: number) {
    this.#target = target
    this.#segment = segment
    this.#poolBytes = poolBytes
  }

  /** Not the script in `bin`: that waits for the program as a child, and does not end it when it is ended. */
  static program(): string {
    const lib = cachePath('mooncake', 'lib')
    const python = existsSync(lib) ? readdirSync(lib).find(name => name.startsWith('python')) : undefined
    return join(lib, python ?? 'python', 'site-packages', 'mooncake', 'transfer_engine_bench')
  }

  static async install(): Promise<void> {
    await Mooncake.install()
  }

  static async start({ poolBytes }: PoolSizes): Promise<TransferEngine> {
    chmodSync(TransferEngine.program(), 0o755) // As its own script does: a wheel need not say so.
    const target = new Program(TransferEngine.program(), ['-mode=target', ...flags(poolBytes)], {
      env: LOGGING_ENV,
      cwd: cachePath('mooncake'),
    })
    target.child.stdout!.resume()
    const endMs = performance.now() + READY_DEADLINE_MS
    while (performance.now() < endMs && target.child.exitCode == null) {
      const segment = /listening on (\S+:\d+)/.exec(target.complaint)?.[1]
      if (segment != null && target.complaint.includes('TcpTransport: listen'))
        return new TransferEngine(target, segment, poolBytes)
      await sleep(POLL_MS)
    }
    await target[Symbol.asyncDispose]()
    throw new Error(`transfer_engine_bench did not start: ${target.complaint.trim()}`)
  }

  /** In GB/s. Takes a second whatever it is asked for. */
  contender({ operation, objectBytes, depth }: TransferEngineSetting): Contender {
    const args = [
      '-mode=initiator',
      `-segment_id=${this.#segment}`,
      `-operation=${operation === 'get' ? 'read' : 'write'}`,
      `-block_size=${objectBytes}`,
      `-batch_size=${depth / 2}`,
      '-threads=2',
      `-duration=${SECONDS}`,
      '-report_precision=6',
      ...flags(this.#poolBytes),
    ]
    return async () => {
      const { stderr } = await run(TransferEngine.program(), args, {
        env: { ...process.env, ...LOGGING_ENV },
        cwd: cachePath('mooncake'),
        timeout: 60_000,
      })
      const value = Number(/throughput ([\d.]+) GB\/s/.exec(stderr)?.[1])
      if (!(value > 0)) throw new Error(`Not a measurement: ${stderr.slice(-500)}`)
      return { value }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#target[Symbol.asyncDispose]()
  }
}

function flags(poolBytes: number): string[] {
  return [
    '-metadata_server=P2PHANDSHAKE',
    '-protocol=tcp',
    '-local_server_name=127.0.0.1',
    `-buffer_size=${poolBytes}`,
  ]
}
