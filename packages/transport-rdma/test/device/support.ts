import { execFile, execFileSync, fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createMemory, createRegion } from '@mooncake-ts/memory'
import {
  noMetrics,
  systemClock,
  type Access,
  type Completion,
  type Exposure,
  type Logger,
  type Region,
  type RemoteWindow,
  type TransferOp,
  type Transport,
} from '@mooncake-ts/core'
import { collect, until } from '@mooncake-ts/testkit'
import type { RdmaOptions } from '../../dist/options.js'
import { RdmaTransport } from '../../dist/transport.js'
import type { PeerOrder, PeerReport, PlainWindow } from './peer-orders.js'

/** In the virtual machine of `npm run test:rdma`. */
export const inGuest = process.env.MOONCAKE_RDMA_GUEST === '1'

/** Register as `before(NEEDS_GUEST, onlyInGuest)`: nobody's adapter is taken down. */
export function onlyInGuest(this: Mocha.Context): void {
  if (!inGuest) this.skip()
}

/** For whom it is skipped. */
export const NEEDS_GUEST = 'breaks devices of the virtual machine: npm run test:rdma -- --vm'

const cleanups: (() => unknown)[] = []

/** Runs, last first, when the current test has ended. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup)
}

/** Register as `afterEach(cleanUp)`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

/** Everything is emulated, and the host may be busy: what takes milliseconds on hardware may take seconds here. */
export async function soon(condition: () => boolean | Promise<boolean>): Promise<void> {
  await until(condition, { deadlineMs: 30_000 })
}

/** A started transport, and the warnings that it logged. */
export interface Node {
  readonly transport: RdmaTransport
  readonly warnings: string[]
}

export async function startNode(options: RdmaOptions): Promise<Node> {
  const warnings: string[] = []
  const silent = (): void => {}
  const warn = (message: string): void => {
    warnings.push(message)
    if (process.env.MC_LOG_LEVEL === 'warn') process.stderr.write(`${message}\n`)
  }
  const logger: Logger = { debug: silent, info: silent, warn, error: warn, child: () => logger }
  const security = { allowInsecure: false }
  const memory = createMemory()
  atEnd(() => memory.close())
  const deps = { clock: systemClock, logger, memory, metrics: noMetrics, security }
  const transport = new RdmaTransport(options, deps)
  await transport.start()
  atEnd(() => transport.stop())
  return { transport, warnings }
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
export function expose(transport: Transport, region: Region, access: Access = 'readwrite'): Exposure {
  return transport.expose(region, { offset: 0, byteLength: region.byteLength, access })
}

/** All of a region, in operations of `pieceBytes`, to or from the same places of a window. */
export function batchOf(
  kind: 'read' | 'write',
  region: Region,
  window: RemoteWindow,
  pieceBytes: number = region.byteLength,
): TransferOp[] {
  const batch: TransferOp[] = []
  for (let offset = 0; offset < region.byteLength; offset += pieceBytes) {
    const byteLength = Math.min(pieceBytes, region.byteLength - offset)
    batch.push({ kind, local: { region, offset, byteLength }, remote: { window, offset, byteLength } })
  }
  return batch
}

const never = new AbortController().signal

export function run(transport: Transport, batch: readonly TransferOp[]): Promise<Completion[]> {
  return collect(transport.execute(batch, { signal: never }))
}

/** How often each code came, `OK` for none. */
export function codes(completions: readonly Completion[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { error } of completions) {
    const code = error == null ? 'OK' : (error as Error & { code: string }).code
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

/** By default: two for data, and the one for looking at windows. */
export const PAIRS_OF_LINK = 3

/** What a device has of a transport. */
export function held(node: Node, device: string): { regions: number; pairs: number; operations: number } {
  const { memoryRegions, queuePairs, operations } = node.transport.stats.get(device)!
  return { regions: memoryRegions, pairs: queuePairs, operations }
}

/** A transport in a process of its own that exposes `byteLength` bytes; killed when the test ends. */
export async function startPeer(
  device: string,
  byteLength: number,
  wrapper: readonly string[] = [],
): Promise<{ child: ChildProcess; window: RemoteWindow }> {
  const path = fileURLToPath(new URL('peer-process.js', import.meta.url))
  const [execPath = process.execPath, ...execArgv] = [...wrapper, process.execPath]
  const child = fork(path, [device, String(byteLength)], { execPath, execArgv })
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

/** Runs a program of the system, for what only root may do. */
export function system(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** The same, while this process goes on. */
export async function systemLater(command: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(command, args)
}

/** A second pair of devices, `rxe2` and `rxe3`, on the two ends of a wire of their own; gone when the test ends. */
export async function secondRail(): Promise<void> {
  system('ip', 'link', 'add', 'c0', 'type', 'veth', 'peer', 'name', 'd0')
  atEnd(() => system('ip', 'link', 'del', 'c0'))
  for (const [link, number] of [
    ['c0', 1],
    ['d0', 2],
  ] as const) {
    system('ip', 'addr', 'add', `10.10.0.${number}/24`, 'dev', link)
    system('ip', 'link', 'set', link, 'mtu', '9000')
    const rules = `/proc/sys/net/ipv4/conf/${link}`
    system(
      'sh',
      '-c',
      `cd ${rules} && echo 1 >accept_local; echo 0 >rp_filter; echo 1 >arp_ignore; echo 2 >arp_announce`,
    )
  }
  for (const link of ['c0', 'd0']) system('ip', 'link', 'set', link, 'up')
  system('rdma', 'link', 'add', 'rxe2', 'type', 'rxe', 'netdev', 'c0')
  system('rdma', 'link', 'add', 'rxe3', 'type', 'rxe', 'netdev', 'd0')
  atEnd(() => system('rdma', 'link', 'del', 'rxe3'))
  atEnd(() => system('rdma', 'link', 'del', 'rxe2'))
  const find =
    'for d in rxe2 rxe3; do grep -qs ffff:0a0a: /sys/class/infiniband/$d/ports/1/gids/* || exit 1; done'
  system('sh', '-c', `for i in $(seq 50); do (${find}) && exit 0; sleep 0.1; done; exit 1`)
}
