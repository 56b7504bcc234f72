import { mkdir } from 'node:fs/promises'
import type { Contender } from '../harness/compare.js'
import { freePort, LineProgram, Program, untilListening } from '../harness/programs.js'
import { parseAnswer } from '../harness/raw-copy.js'
import type { PoolSizes } from '../harness/suite.js'
import { cachePath, helperPath, run } from './cache.js'

const WHEEL = 'mooncake-transfer-engine-non-cuda'
const HOST = '127.0.0.1'

/** Its faster mode here, though not its default: without a pool it connects anew for each transfer. */
export const ENV = { MC_TCP_ENABLE_CONNECTION_POOL: '1', GLOG_minloglevel: '2', MC_LOG_LEVEL: 'ERROR' }

export interface MooncakeSetting {
  readonly operation: 'get' | 'put' | 'exists'
  readonly objectBytes: number
  readonly batch: number
  /** Batches under way at a time, each from a thread of its own. Default: 1. */
  readonly depth?: number
}

/**
 * The real Mooncake over TCP: a master with its metadata server, a store that owns the memory, and one that
 * reads and writes it from another process.
 */
export class Mooncake implements AsyncDisposable {
  readonly #client: LineProgram
  readonly #parts: readonly AsyncDisposable[]

  private constructor(client: LineProgram, parts: readonly AsyncDisposable[]) {
    this.#client = client
    this.#parts = parts
  }

  static program(): string {
    return cachePath('mooncake', 'bin', 'mooncake_master')
  }

  static async install(): Promise<void> {
    const venv = cachePath('mooncake')
    await mkdir(venv, { recursive: true })
    await run('python3', ['-m', 'venv', venv])
    await run(cachePath('mooncake', 'bin', 'pip'), ['install', '--quiet', WHEEL], { timeout: 300_000 })
  }

  static async start({ poolBytes, batchPoolBytes }: PoolSizes): Promise<Mooncake> {
    const parts: AsyncDisposable[] = []
    const segmentBytes = 4 * poolBytes
    // In another directory than ours: its programs look for their configuration where they are started.
    const options = { env: ENV, cwd: cachePath('mooncake') }
    const store = async (role: string, ...args: ReadonlyArray<string | number>): Promise<LineProgram> => {
      const python = cachePath('mooncake', 'bin', 'python')
      const program = new LineProgram(python, [helperPath('mooncake_rival.py'), role, ...args], options)
      parts.unshift(program)
      while ((await program.next()) !== 'ready');
      return program
    }
    try {
      const [rpcPort, metricsPort, metadataPort] = [await freePort(), await freePort(), await freePort()]
      const master = new Program(
        Mooncake.program(),
        [
          `-rpc_port=${rpcPort}`,
          `-metrics_port=${metricsPort}`,
          '-enable_http_metadata_server=true',
          `-http_metadata_server_host=${HOST}`,
          `-http_metadata_server_port=${metadataPort}`,
        ],
        options,
      )
      parts.push(master)
      master.child.stdout!.resume()
      await untilListening(master, rpcPort)
      await untilListening(master, metadataPort)
      const addresses = [`${HOST}:${rpcPort}`, `http://${HOST}:${metadataPort}/metadata`]
      await store('owner', ...addresses, segmentBytes)
      const client = await store('client', ...addresses, batchPoolBytes, segmentBytes)
      return new Mooncake(client, parts)
    } catch (error) {
      for (const part of parts) await part[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Empties the store, and puts the objects that are read later. */
  async load(objectBytes: number, count: number): Promise<void> {
    await this.#client.ask('clear')
    await this.#client.ask('load', objectBytes, count)
  }

  /** In GB/s, or keys/s where it asks for keys. A get wants its objects loaded; a put removes them. */
  contender({ operation, objectBytes, batch, depth = 1 }: MooncakeSetting): Contender {
    const scale = operation === 'exists' ? 1 : 1e-9
    return async durationMs =>
      parseAnswer(await this.#client.ask(operation, objectBytes, batch, depth, durationMs), scale)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of this.#parts) await part[Symbol.asyncDispose]()
  }
}
