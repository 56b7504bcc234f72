import {
  assertTransferOp,
  assertWindow,
  BatchesInFlight,
  BatchOperation,
  MooncakeError,
  type Batch,
  type BatchCarrier,
  type Clock,
  type CompletionStream,
  type CopyPool,
  type Exposure,
  type ExposeOptions,
  type Logger,
  type Metrics,
  type Region,
  type RemoteSlice,
  type RemoteView,
  type RemoteWindow,
  type Security,
  type Startable,
  type TransferOp,
  type Transport,
  type WindowKind,
} from '@mooncake-ts/core'
import { createCopyPool, createRegion, type HostRegion } from '@mooncake-ts/memory'
import { connect } from './connect.js'
import { Copier } from './copier.js'
import { SocketDirectory } from './directory.js'
import { Exposures, slotOf } from './exposures.js'
import { GrantTable, KEY_BYTES, NO_SLOT, tableBytes } from './grant-table.js'
import { Link } from './link.js'
import { Listener } from './listener.js'
import { TransportMetrics } from './metrics.js'
import { resolveOptions, type ResolvedOptions, type ShmOptions } from './options.js'
import { Peer } from './peer.js'
import { RegionClosings } from './regions.js'

export interface TransportDeps {
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly security: Security
}

const SHM_WINDOWS: WindowKind = { scheme: 'shm', isKey: key => key.byteLength === KEY_BYTES }
/** How often peers are looked at for silence. */
const SWEEPS_PER_TIMEOUT = 4

/** What exists between `start` and `stop`. */
interface Running {
  readonly pool: CopyPool
  readonly copier: Copier
  readonly table: HostRegion
  readonly exposures: Exposures
  readonly listener: Listener
  readonly endpoint: string
  readonly sweeper: Disposable
}

/** READ and WRITE between processes of one host, over memory that they map from each other. */
export class ShmTransport implements Transport, Startable {
  readonly scheme = 'shm'
  readonly supports = Object.freeze({ revoke: true, remote: false })
  readonly #options: ResolvedOptions
  readonly #deps: TransportDeps
  readonly #metrics: TransportMetrics
  readonly #directory: SocketDirectory
  readonly #closings = new RegionClosings()
  readonly #links = new Map<string, Link>()
  readonly #batches: BatchesInFlight
  #running: Running | undefined
  #stopped: Promise<void> | undefined

  /** @throws ERR_INVALID_PARAMS */
  constructor(options: ShmOptions, deps: TransportDeps) {
    this.#options = resolveOptions(options)
    this.#deps = deps
    this.#batches = new BatchesInFlight(deps.clock, this.#options.abortGraceMs)
    this.#directory = new SocketDirectory(this.#options.socketDirectory)
    this.#metrics = new TransportMetrics(
      deps.metrics,
      () => this.#links.size + (this.#running?.listener.peerCount ?? 0),
    )
  }

  /** @throws ERR_SHUTTING_DOWN before start and after stop */
  get endpoint(): string {
    return this.#required.endpoint
  }

  /** @throws ERR_NATIVE_MISSING, ERR_INVALID_PARAMS, ERR_IO, ERR_OUT_OF_MEMORY */
  async start(): Promise<void> {
    if (this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    const { allowOtherUsers, copyThreads, inlineCopyBytes, grantsMax, operationTimeoutMs } = this.#options
    const { clock, logger } = this.#deps
    const table = createRegion({ byteLength: tableBytes(grantsMax), label: 'grants' })
    const pool = createCopyPool({ threads: copyThreads, inlineBytesMax: inlineCopyBytes })
    try {
      const socket = this.#directory.listen(allowOtherUsers ? 0o666 : 0o600)
      const { endpoint } = socket
      const copier = new Copier(pool, this.#options)
      const exposures = new Exposures(new GrantTable(table), this.#closings, endpoint)
      const [options, closings, metrics] = [this.#options, this.#closings, this.#metrics]
      const listener = new Listener(socket, {
        ...this.#deps,
        options,
        exposures,
        closings,
        copier,
        metrics,
        table,
      })
      const sweeper = clock.every(operationTimeoutMs / SWEEPS_PER_TIMEOUT, () => {
        for (const link of this.#links.values()) link.sweep(clock.nowMs(), operationTimeoutMs)
      })
      this.#running = { pool, copier, table, exposures, listener, endpoint, sweeper }
      logger.info('Shared memory transport listens', { path: socket.path })
    } catch (error) {
      table.close()
      await pool.close()
      throw error
    }
  }

  /** A window of this host, whose process was there when last seen. */
  reaches({ scheme, endpoint, key }: RemoteWindow): boolean {
    if (scheme !== this.scheme || key.byteLength !== KEY_BYTES || slotOf(key) === NO_SLOT) return false
    return this.#links.get(endpoint)?.isConnected === true || this.#directory.has(endpoint)
  }

  expose(region: Region, options: ExposeOptions): Exposure {
    if (this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    return this.#required.exposures.expose(region, options)
  }

  execute(batch: readonly TransferOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return this.#batches.run(batch, signal, () => this.#carrier())
  }

  async view(remote: RemoteSlice, { signal }: { readonly signal: AbortSignal }): Promise<RemoteView> {
    signal.throwIfAborted()
    const running = this.#required
    if (this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    assertWindow(remote, SHM_WINDOWS)
    return await this.#link(remote.window.endpoint, running).view(remote, signal)
  }

  /**
   * Takes no new work, lets what is under way end for at most `stopTimeoutMs`, and closes everything.
   * Idempotent.
   */
  stop(): Promise<void> {
    // Later, because failing what waits calls back, and a callback may call `stop` again.
    this.#stopped ??= Promise.resolve().then(() => this.#stop())
    return this.#stopped
  }

  get #required(): Running {
    if (this.#running != null) return this.#running
    throw new MooncakeError('ERR_SHUTTING_DOWN', 'The shared memory transport is not running')
  }

  #carrier(): BatchCarrier {
    const links = new Set<Link>()
    return {
      queue: (batch, index, op) => {
        this.#queue(batch, index, op, links)
      },
      refused: error => {
        this.#metrics.failed('initiator', error)
      },
      post: () => {
        for (const link of links) link.flush()
        this.#running?.copier.pump()
      },
      takeBack: batch => {
        this.#running?.copier.takeBack(owner => owner === batch)
        for (const link of links) link.takeBack(batch)
      },
      giveUp: batch => {
        const reason = new MooncakeError('ERR_TRANSFER_FAIL', 'The peer did not answer an abort')
        for (const link of links) if (link.hasPullsOf(batch)) link.close(reason)
      },
    }
  }

  /** @throws what makes the operation impossible, before anything is queued */
  #queue(batch: Batch, index: number, op: TransferOp, links: Set<Link>): void {
    if (this.#running == null || this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    assertTransferOp(op, SHM_WINDOWS)
    if (op.local.byteLength === 0) {
      batch.complete(index, 0)
      return
    }
    const link = this.#link(op.remote.window.endpoint, this.#running)
    links.add(link)
    const operation = new BatchOperation(batch, index, op, error => {
      if (error == null) this.#metrics.moved('initiator', op.kind, op.local.byteLength)
      else this.#metrics.failed('initiator', error)
    })
    link.start(operation)
  }

  /** @throws ERR_TRANSFER_FAIL for an endpoint of another host */
  #link(endpoint: string, { copier }: Running): Link {
    const known = this.#links.get(endpoint)
    if (known != null) return known
    const path = this.#directory.find(endpoint)
    if (path == null) throw new MooncakeError('ERR_TRANSFER_FAIL', `${endpoint} is not of this host`)
    const { clock, logger, security } = this.#deps
    const { connectTimeoutMs, allowOtherUsers } = this.#options
    const connecting = connect(path, { security, clock, connectTimeoutMs, allowOtherUsers }).then(
      connected => new Peer(connected, { options: this.#options, closings: this.#closings, copier }),
    )
    const link = new Link(connecting, copier)
    this.#links.set(endpoint, link)
    void link.ended.then(({ code, message }) => {
      this.#links.delete(endpoint)
      logger.debug(`The connection to ${endpoint} ended: ${message}`, { code, endpoint })
    })
    return link
  }

  async #stop(): Promise<void> {
    if (this.#running == null) return
    const { pool, copier, table, exposures, listener, sweeper } = this.#running
    const reason = new MooncakeError('ERR_SHUTTING_DOWN')
    const timer = this.#deps.clock.after(this.#options.stopTimeoutMs, () => {
      for (const link of this.#links.values()) link.close(reason)
    })
    listener.stopAccepting()
    await Promise.all([exposures.stop(), this.#batches.idle()])
    timer[Symbol.dispose]()
    sweeper[Symbol.dispose]()
    for (const link of this.#links.values()) link.close(reason)
    listener.close(reason)
    await Promise.all([...this.#links.values()].map(link => link.ended))
    await copier.idle()
    this.#running = undefined
    await pool.close()
    table.close()
  }
}
