import {
  MEMORY,
  TRANSPORT,
  type Access,
  type Completion,
  type Exposure,
  type Host,
  type Plugin,
  type RemoteSlice,
  type RemoteWindow,
  type Slice,
  type TransferOp,
  type Transport,
} from '@mooncake-ts/core'
import { collect } from '../../helpers/watch.js'
import { testHost } from '../../helpers/test-host.js'
import { Arena, neverAborted, partOf } from '../arena.js'

export interface TransportSetup {
  /** One end. Called up to three times for a test; the ends must reach each other. */
  create(): Plugin<Transport> | Promise<Plugin<Transport>>
  /** Length of the one large transfer. @defaultValue 64 MiB */
  readonly largeBytes?: number
  /** Runs after every test, when all ends have stopped. */
  teardown?(): Promise<void> | void
}

/** One end: a Host of its own, with memory of its own. */
export class End {
  readonly host: Host
  readonly transport: Transport
  readonly arena: Arena

  constructor(host: Host) {
    this.host = host
    this.transport = host.get(TRANSPORT)
    this.arena = new Arena(host.get(MEMORY))
  }

  expose(slice: Slice, access: Access = 'readwrite'): Exposure {
    const { region, offset, byteLength } = slice
    return this.transport.expose(region, { offset, byteLength, access })
  }

  /** Runs a batch to its end; the completions are in the order of the batch. */
  run(...batch: TransferOp[]): Promise<Completion[]> {
    return collect(this.transport.execute(batch, { signal: neverAborted }))
  }
}

/** The ends of one test. */
export class TransportFixture {
  readonly setup: TransportSetup
  readonly #ends: End[] = []

  constructor(setup: TransportSetup) {
    this.setup = setup
  }

  async end(): Promise<End> {
    const end = new End(await testHost([await this.setup.create()]))
    this.#ends.push(end)
    return end
  }

  /** `a` moves, `b` exposes. */
  async pair(): Promise<{ readonly a: End; readonly b: End }> {
    return { a: await this.end(), b: await this.end() }
  }

  async close(): Promise<void> {
    const ends = this.#ends.splice(0)
    for (const end of ends) await end.host.stop()
    for (const end of ends) end.arena.close()
    await this.setup.teardown?.()
  }
}

export function remoteOf(window: RemoteWindow, offset: number, byteLength: number): RemoteSlice {
  return { window, offset, byteLength }
}

/** One operation between the same range of a local slice and of a window. */
export function opAt(
  kind: 'read' | 'write',
  local: Slice,
  window: RemoteWindow,
  offset = 0,
  byteLength = local.byteLength - offset,
): TransferOp {
  return { kind, local: partOf(local, offset, byteLength), remote: remoteOf(window, offset, byteLength) }
}

/** The whole of a local slice as operations of `pieceBytes`. */
export function opsOf(
  kind: 'read' | 'write',
  local: Slice,
  window: RemoteWindow,
  pieceBytes: number,
): TransferOp[] {
  const ops: TransferOp[] = []
  for (let offset = 0; offset < local.byteLength; offset += pieceBytes)
    ops.push(opAt(kind, local, window, offset, Math.min(pieceBytes, local.byteLength - offset)))
  return ops
}
