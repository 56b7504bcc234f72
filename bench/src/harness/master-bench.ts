import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { programPath } from '@mooncake-ts/cli'
import { DIRECTORY, Host, type Directory } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import type { LoopAnswer, LoopQuestion } from '../peers/loop-monitor.js'

export const KEY_BYTES = 64
const SYNC_KEYS = 2000
const POLL_MS = 5
const SETTLE_DEADLINE_MS = 60_000

/** A range of keys; `to` is not in it. */
export interface KeyRange {
  readonly from: number
  readonly to: number
}

/** A master as a process of its own, and what can be seen of it from outside. */
export class MasterBench implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #endpoint: string
  readonly #adminEndpoint: string
  readonly #members: Member[] = []

  private constructor(child: ChildProcess, endpoint: string, adminEndpoint: string) {
    this.#child = child
    this.#endpoint = endpoint
    this.#adminEndpoint = adminEndpoint
  }

  static async start(): Promise<MasterBench> {
    const monitor = fileURLToPath(new URL('../peers/loop-monitor.js', import.meta.url))
    const flags = ['--port=0', '--metrics_port=0', '--log_level=error']
    const child = spawn(process.execPath, ['--import', monitor, programPath('mooncake_master'), ...flags], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    process.once('exit', () => child.kill('SIGKILL'))
    const [ready] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
    return new MasterBench(child, /rpc=(\S+)/.exec(ready)![1]!, /http=(\S+)/.exec(ready)![1]!)
  }

  /** A node with room for everything. */
  async join(name: string): Promise<Member> {
    const member = await Member.join(name, this.#endpoint)
    this.#members.push(member)
    return member
  }

  /** Memory that is really there, from the kernel's own account. */
  residentBytes(): number {
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.#child.pid!}/status`, 'utf8'))
    return Number(kilobytes![1]) * 1024
  }

  /** How long its event loop stood still at most while the work was done, and how long that took. */
  async watch(work: () => Promise<void>): Promise<{ readonly longestMs: number; readonly totalMs: number }> {
    await this.#ask('reset')
    const begunMs = performance.now()
    await work()
    const totalMs = performance.now() - begunMs
    const { longestMs } = await this.#ask('longest')
    return { longestMs, totalMs }
  }

  /** @throws when it has another number of keys after a minute */
  async untilKeyCount(count: number): Promise<void> {
    const endMs = performance.now() + SETTLE_DEADLINE_MS
    for (let seen = NaN; performance.now() < endMs;) {
      const response = await fetch(`http://${this.#adminEndpoint}/metrics/summary`)
      seen = Number(/Keys: (\d+)/.exec(await response.text())![1])
      if (seen === count) return
      await sleep(POLL_MS)
    }
    throw new Error(`The master has not come to ${count} keys`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.#members) await member[Symbol.asyncDispose]()
    this.#child.kill('SIGTERM')
    if (this.#child.exitCode == null) await once(this.#child, 'exit')
  }

  async #ask(question: LoopQuestion): Promise<LoopAnswer> {
    const answer = once(this.#child, 'message')
    this.#child.send(question)
    return ((await answer) as [LoopAnswer])[0]
  }
}

/** A node that says that it holds keys, and holds nothing. */
export class Member implements AsyncDisposable {
  readonly directory: Directory
  readonly #host: Host
  readonly #segment: string

  private constructor(host: Host, name: string) {
    this.#host = host
    this.directory = host.get(DIRECTORY)
    this.#segment = `${name}/dram-0`
  }

  static async join(name: string, endpoint: string): Promise<Member> {
    const plugins = [rpc({ listen: ['127.0.0.1:0'] }), masterClient({ endpoints: [endpoint] })]
    const member = new Member(await new Host(plugins).start(), name)
    const segment = {
      name: member.#segment,
      kind: 'DRAM',
      priority: 100,
      tags: [],
      capacityBytes: 2 ** 40,
      usedBytes: 0,
    }
    await member.directory.join(
      { nodeId: `bench-${name}`, name, rpcEndpoint: '127.0.0.1:1', segments: [segment] },
      {
        removeLocal: () => Promise.resolve(0),
        removeWhere: () => Promise.resolve(0),
        snapshot: () => [],
        segments: () => [segment],
      },
      new AbortController().signal,
    )
    return member
  }

  async add(range: KeyRange): Promise<void> {
    for (const keys of batches(range)) {
      const replica = { byteLength: 4096, generation: 1, segment: this.#segment }
      await this.directory.syncReplicas(
        keys.map(key => ({ key, ...replica })),
        [],
      )
    }
  }

  async remove(range: KeyRange): Promise<void> {
    for (const keys of batches(range)) {
      const replica = { generation: 1, segment: this.#segment }
      await this.directory.syncReplicas(
        [],
        keys.map(key => ({ key, ...replica })),
      )
    }
  }

  /** The master drops its routes. */
  async leave(): Promise<void> {
    await this.directory.leave()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host.stop()
  }
}

export function keyOf(index: number): string {
  return index.toString(16).padStart(KEY_BYTES, 'k')
}

function* batches({ from, to }: KeyRange): Generator<string[]> {
  for (let first = from; first < to; first += SYNC_KEYS) {
    yield Array.from({ length: Math.min(SYNC_KEYS, to - first) }, (_, i) => keyOf(first + i))
  }
}
