import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { lastValueFrom, toArray, tap } from 'rxjs'
import { createRegion } from '@mooncake-ts/memory'
import { createIoEngine, type IoEngine } from '@mooncake-ts/io-uring'
import {
  noMetrics,
  systemClock,
  type Completion,
  type Logger,
  type Region,
  type RemoteWindow,
  type Security,
  type TransferOp,
  type Transport,
} from '@mooncake-ts/core'
import type { TcpOptions } from '../dist/options.js'
import { TcpTransport } from '../dist/transport.js'
import type { PeerOrder, PeerReport, PlainWindow } from './peer-orders.js'

export interface Logged {
  readonly level: string
  readonly message: string
  readonly code?: string
}

/** A started transport, what it logged, and its engine. */
export interface Node {
  readonly transport: TcpTransport
  readonly engine: IoEngine
  readonly logged: Logged[]
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

export async function startNode(
  options: TcpOptions = {},
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
  let engine: IoEngine | undefined
  const transport = new TcpTransport(options, {
    clock: systemClock,
    logger,
    metrics: noMetrics,
    security,
    createEngine: engineOptions => (engine = createIoEngine(engineOptions)),
  })
  await transport.start()
  atEnd(() => transport.stop())
  return { transport, engine: engine!, logged }
}

export function regionOf(byteLength: number): Region {
  const region = createRegion({ byteLength })
  atEnd(() => {
    region.close()
  })
  return region
}

export function bytesOf(region: Region): Buffer {
  const view = region.view(0, region.byteLength)
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength)
}

/** Exposes all of a region. */
export function expose(
  transport: Transport,
  region: Region,
  access: 'read' | 'write' | 'readwrite' = 'readwrite',
) {
  return transport.expose(region, { offset: 0, byteLength: region.byteLength, access })
}

export function operation(
  kind: 'read' | 'write',
  region: Region,
  window: RemoteWindow,
  range: { readonly local?: number; readonly remote?: number; readonly byteLength: number },
): TransferOp {
  const { local = 0, remote = 0, byteLength } = range
  return {
    kind,
    local: { region, offset: local, byteLength },
    remote: { window, offset: remote, byteLength },
  }
}

const never = new AbortController().signal

/** All completions of a batch, in the order of the batch. */
export async function run(
  transport: Transport,
  batch: readonly TransferOp[],
  options: { readonly signal?: AbortSignal; readonly onNext?: (completion: Completion) => void } = {},
): Promise<Completion[]> {
  const { signal = never, onNext = () => {} } = options
  const stream = transport.execute(batch, { signal }).pipe(tap(onNext), toArray())
  const completions = await lastValueFrom(stream)
  return completions.sort((a, b) => a.index - b.index)
}

/** The code of each completion, `OK` for none. */
export function codes(completions: readonly Completion[]): string[] {
  return completions.map(({ error }) => (error == null ? 'OK' : (error as Error & { code: string }).code))
}

/** Waits for a condition by looking again after each turn of the event loop. */
export async function until(condition: () => boolean, what: string, deadlineMs = 5_000): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${deadlineMs} ms in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}

/** The code of what a call throws; undefined when it does not. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return undefined
}

/** A transport in a process of its own that exposes `byteLength` bytes; killed when the test ends. */
export async function startPeerProcess(
  byteLength: number,
): Promise<{ child: ChildProcess; window: RemoteWindow }> {
  const child = fork(fileURLToPath(new URL('peer-process.js', import.meta.url)), [String(byteLength)])
  const exited = once(child, 'exit')
  atEnd(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const early = exited.then(() => {
    throw new Error('The peer process ended before it told its window')
  })
  const [told] = (await Promise.race([once(child, 'message'), early])) as [PlainWindow]
  return { child, window: { ...told, key: Uint8Array.from(told.key) } }
}

/** Has a peer process execute operations on a window of this process. */
export async function order(
  child: ChildProcess,
  { window, ...what }: Omit<PeerOrder, 'window'> & { readonly window: RemoteWindow },
): Promise<PeerReport> {
  const message: PeerOrder = { ...what, window: { ...window, key: [...window.key] } }
  child.send(message)
  const [report] = (await once(child, 'message')) as [PeerReport]
  return report
}
