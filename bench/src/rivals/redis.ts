import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Redis as Client } from 'ioredis'
import type { Contender } from '../harness/compare.js'
import { measure } from '../harness/measure.js'
import { freePort, Program, untilListening } from '../harness/programs.js'
import { cachePath, run } from './cache.js'

const HOST = '127.0.0.1'
/** With the libraries that a slim system lacks. */
const PACKAGES = [
  'redis-server',
  'redis-tools',
  'libhiredis0.14',
  'libjemalloc2',
  'liblua5.1-0',
  'liblzf1',
  'lua-bitop',
  'lua-cjson',
] as const
const PATTERN = 0xa5
/** The first round guesses how many requests take the time that it was given. */
const FIRST_GUESS_BYTES_PER_SECOND = 5e8
const REQUESTS_PER_SECOND_MAX = 50_000

export interface RedisSetting {
  readonly operation: 'get' | 'set'
  readonly objectBytes: number
  readonly connections: number
}

/** A Redis without persistence, asked by its own benchmark and by ioredis. */
export class Redis implements AsyncDisposable {
  readonly #server: Program
  readonly #port: number
  readonly #dir: string
  readonly #clients: Client[] = []
  #keyCount = 0

  private constructor(server: Program, port: number, dir: string) {
    this.#server = server
    this.#port = port
    this.#dir = dir
  }

  static program(): string {
    return find('redis-server')
  }

  /** Unpacked into the cache: nothing of the system changes. */
  static async install(): Promise<void> {
    const dir = cachePath('redis')
    await mkdir(dir, { recursive: true })
    await run('apt-get', ['download', ...PACKAGES], { cwd: dir, timeout: 120_000 })
    await run('sh', ['-c', 'for package in *.deb; do dpkg-deb -x "$package" .; done; rm ./*.deb'], {
      cwd: dir,
    })
  }

  static async start(): Promise<Redis> {
    const port = await freePort()
    const dir = await mkdtemp(join(tmpdir(), 'mooncake-bench-redis-'))
    const args = ['--bind', HOST, '--port', port, '--save', '', '--appendonly', 'no', '--dir', dir]
    const server = new Program(Redis.program(), args, { env: libraries() })
    server.child.stdout!.resume()
    const redis = new Redis(server, port, dir)
    try {
      await untilListening(server, port)
      return redis
    } catch (error) {
      await redis[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Empties it, and sets all the keys that its benchmark asks for: a miss would be a fast answer. */
  async load(objectBytes: number, count: number): Promise<void> {
    const [client] = this.#connect(1)
    await client!.flushall()
    const value = Buffer.alloc(objectBytes, PATTERN)
    for (let first = 0; first < count; first += 64) {
      const step = Math.min(64, count - first)
      await Promise.all(Array.from({ length: step }, (_, i) => client!.set(keyOf(first + i), value)))
    }
    this.#keyCount = count
  }

  /** `redis-benchmark`, in GB/s: random keys of those loaded. */
  benchmark({ operation, objectBytes, connections }: RedisSetting): Contender {
    let perSecond = Math.min(FIRST_GUESS_BYTES_PER_SECOND / objectBytes, REQUESTS_PER_SECOND_MAX)
    return async durationMs => {
      const requests = Math.ceil(Math.max(connections * 2, (perSecond * durationMs) / 1000))
      const setting = { p: this.#port, t: operation, d: objectBytes, c: connections, n: requests }
      const flags = Object.entries({ ...setting, r: this.#keyCount }).flatMap(([flag, value]) => [
        `-${flag}`,
        String(value),
      ])
      const { stdout } = await run(find('redis-benchmark'), ['-h', HOST, ...flags, '--csv'], {
        env: { ...process.env, ...libraries() },
      })
      // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",…
      const [, rps, , , p50Ms, , p99Ms] = JSON.parse(`[${stdout.trim().split('\n').at(-1)!}]`) as string[]
      perSecond = Number(rps)
      if (!(perSecond > 0)) throw new Error(`Not a measurement: ${stdout}`)
      return {
        value: (perSecond * objectBytes) / 1e9,
        p50Us: Number(p50Ms) * 1000,
        p99Us: Number(p99Ms) * 1000,
      }
    }
  }

  /** ioredis in this process, in GB/s: one request under way on each connection. */
  client({ operation, objectBytes, connections }: RedisSetting): Contender {
    const clients = this.#connect(connections)
    const value = Buffer.alloc(objectBytes, PATTERN)
    let next = 0
    const idle = [...clients]
    const once = async (): Promise<number> => {
      const client = idle.pop()!
      const key = keyOf(next++ % this.#keyCount)
      if (operation === 'set') await client.set(key, value)
      else {
        const got = await client.getBuffer(key)
        if (got?.byteLength !== objectBytes || got[0] !== PATTERN || got.at(-1) !== PATTERN)
          throw new Error('Redis gave other bytes than were set')
      }
      idle.push(client)
      return objectBytes
    }
    return durationMs => measure(once, { durationMs, depth: connections, scale: 1e-9 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    await this.#server[Symbol.asyncDispose]()
    await rm(this.#dir, { recursive: true, force: true })
  }

  #connect(count: number): Client[] {
    while (this.#clients.length < count) this.#clients.push(new Client(this.#port, HOST))
    return this.#clients.slice(0, count)
  }
}

/** As `redis-benchmark -r` forms them. */
function keyOf(index: number): string {
  return `key:${String(index).padStart(12, '0')}`
}

/** In the cache or on the path; the cache's place where it is in neither. */
function find(program: string): string {
  const cached = cachePath('redis', 'usr', 'bin', program)
  const places = (process.env.PATH ?? '').split(delimiter).map(dir => join(dir, program))
  return [cached, ...places].find(path => existsSync(path)) ?? cached
}

function libraries(): Record<string, string> {
  const lib = cachePath('redis', 'usr', 'lib')
  return existsSync(lib) ? { LD_LIBRARY_PATH: join(lib, 'x86_64-linux-gnu') } : {}
}
