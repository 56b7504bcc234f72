import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { lastValueFrom, toArray } from 'rxjs'
import {
  noMetrics,
  systemClock,
  type Access,
  type Completion,
  type Exposure,
  type Logger,
  type Region,
  type RemoteWindow,
  type Security,
  type TransferOp,
} from '@mooncake-ts/core'
import { createRegion, wrapBuffer, type HostRegion } from '@mooncake-ts/memory'
import { until } from '@mooncake-ts/testkit'
import type { ShmOptions } from '../dist/options.js'
import { ShmTransport } from '../dist/transport.js'
import type { Order, PlainWindow, Report } from './peer-process.js'

export interface Logged {
  readonly level: string
  readonly message: string
  readonly code?: string
}

const cleanups: (() => void | Promise<void>)[] = []

/** Runs, last first, when the current test has ended. */
export function atEnd(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup)
}

/** Register as `afterEach(cleanUp)`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

/** Shared by the processes of one test file. */
export function socketDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'shm-'))
  after(() => {
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

export interface Node {
  readonly transport: ShmTransport
  readonly logged: Logged[]
}

export async function startNode(
  options: ShmOptions,
  security: Security = { allowInsecure: false },
): Promise<Node> {
  const logged: Logged[] = []
  const log =
    (level: string) =>
    (message: string, fields?: object): void => {
      logged.push({ level, message, ...fields })
    }
  const logger: Logger = {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: () => logger,
  }
  const transport = new ShmTransport(options, { clock: systemClock, logger, metrics: noMetrics, security })
  await transport.start()
  atEnd(() => transport.stop())
  return { transport, logged }
}

export function regionOf(byteLength: number, fill = 0): HostRegion {
  const region = createRegion({ byteLength, label: 'test' })
  bytesOf(region).fill(fill)
  atEnd(() => {
    region.close()
  })
  return region
}

/** Memory that no other process can map. */
export function privateRegionOf(byteLength: number, fill = 0): HostRegion {
  const region = wrapBuffer(new Uint8Array(byteLength).fill(fill))
  atEnd(() => {
    region.close()
  })
  return region
}

export function bytesOf(region: Region): Buffer {
  const { buffer, byteOffset, byteLength } = region.view(0, region.byteLength)
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** One memcmp instead of a loop over megabytes: every byte equals the one before it. */
export function isFilledWith(bytes: Uint8Array, byte: number): boolean {
  return bytes[0] === byte && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0
}

export function expose(transport: ShmTransport, region: Region, access: Access = 'readwrite'): Exposure {
  return transport.expose(region, { offset: 0, byteLength: region.byteLength, access })
}

/** An operation on the same range of a region and of a window. */
export function operation(
  kind: 'read' | 'write',
  region: Region,
  window: RemoteWindow,
  offset = 0,
  byteLength = region.byteLength - offset,
): TransferOp {
  return { kind, local: { region, offset, byteLength }, remote: { window, offset, byteLength } }
}

const never = new AbortController().signal

export async function run(
  transport: ShmTransport,
  batch: readonly TransferOp[],
  signal = never,
): Promise<Completion[]> {
  const completions = await lastValueFrom(transport.execute(batch, { signal }).pipe(toArray()))
  return completions.sort((a, b) => a.index - b.index)
}

/** The code of each completion, `OK` for none. */
export function codes(completions: readonly Completion[]): string[] {
  return completions.map(({ error }) => (error == null ? 'OK' : (error as Error & { code: string }).code))
}

/** The code of what a call throws; undefined where it does not. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return undefined
}

/** What this process has open: descriptors of regions and sockets, and mappings of regions. */
export function openThings(): { readonly descriptors: number; readonly mappings: number } {
  const descriptors = readdirSync('/proc/self/fd').length
  const mappings = readFileSync('/proc/self/maps', 'utf8').match(/memfd:mooncake/g)?.length ?? 0
  return { descriptors, mappings }
}

const gc = ((): (() => void) => {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
})()

/** A table of grants stays until nobody can ask it any more, which the collector finds out. */
export async function nothingMoreThan(before: ReturnType<typeof openThings>): Promise<void> {
  await until(
    () => {
      gc()
      const { descriptors, mappings } = openThings()
      return descriptors <= before.descriptors && mappings <= before.mappings
    },
    { deadlineMs: 20_000 },
  )
}

/** A transport in a process of its own; killed when the test ends. */
export class PeerProcess {
  readonly child: ChildProcess
  readonly exited: Promise<unknown>

  constructor(options: ShmOptions & { readonly secret?: string }, spawn: { readonly uid?: number } = {}) {
    const path = fileURLToPath(new URL('peer-process.js', import.meta.url))
    this.child = fork(path, [JSON.stringify(options)], spawn)
    this.exited = once(this.child, 'exit')
    atEnd(async () => {
      this.child.kill('SIGKILL')
      await this.exited
    })
  }

  /** The answer of the process. */
  async ask(order: Order): Promise<Report> {
    const gone = this.exited.then(() => {
      throw new Error('The peer process ended')
    })
    this.child.send(order)
    const [report] = (await Promise.race([once(this.child, 'message'), gone])) as [Report]
    return report
  }

  async expose(byteLength: number, fill: number, access: Access = 'readwrite'): Promise<RemoteWindow> {
    const { window } = await this.ask({ type: 'expose', byteLength, fill, access })
    return { ...window!, key: Uint8Array.from(window!.key) }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }
}

export function plain({ scheme, endpoint, key }: RemoteWindow): PlainWindow {
  return { scheme, endpoint, key: [...key] }
}
