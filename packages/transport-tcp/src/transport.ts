import { createIoEngine, type IoEngine } from '@mooncake-ts/io-uring'
import {
  asMooncakeError,
  assertTransferOp,
  BatchesInFlight,
  formatHostPort,
  MIB,
  MooncakeError,
  outwardHost,
  parseHostPort,
  type Batch,
  type BatchCarrier,
  type Clock,
  type CompletionStream,
  type Exposure,
  type ExposeOptions,
  type HostPort,
  type Logger,
  type Metrics,
  type Region,
  type RemoteWindow,
  type Security,
  type Startable,
  type TransferOp,
  type Transport,
  type WindowKind,
} from '@mooncake-ts/core'
import { connectLane } from './connect.js'
import { KEY_BYTES } from './codec.js'
import { Exposures } from './exposures.js'
import { ClientLane, type FrameEnd } from './lane-client.js'
import { LaneIo } from './lane-io.js'
import { Listener } from './listener.js'
import { TransportMetrics } from './metrics.js'
import { resolveOptions, type ResolvedOptions, type TcpOptions } from './options.js'
import { Peer, SMALL_FRAMES_MAX } from './peer.js'
import { cut } from './piece.js'
import { resolveHost } from './resolve-host.js'
import { Slots } from './slots.js'

export interface TransportDeps {
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly security: Security
  /** For tests that watch the engine. @defaultValue `createIoEngine` */
  readonly createEngine?: typeof createIoEngine
}

/** Where payload of refused writes goes. */
const SCRATCH_BYTES = MIB
const TCP_WINDOWS: WindowKind = { scheme: 'tcp', isKey: key => key.byteLength === KEY_BYTES }
/** How often lanes are looked at for silence; a fraction of the shortest timeout. */
const SWEEPS_PER_TIMEOUT = 4

/** What exists between `start` and `stop`. */
interface Running {
  readonly engine: IoEngine
  readonly io: LaneIo
  readonly slots: Slots
  readonly exposures: Exposures
  readonly listener: Listener
  readonly endpoint: string
  readonly sweeper: Disposable
  /** Aborts connections that are being made. */
  readonly stopping: AbortController
}

/** One-sided READ and WRITE between Regions over pooled TCP lanes. */
export class TcpTransport implements Transport, Startable {
  readonly scheme = 'tcp'
  readonly supports = Object.freeze({ revoke: true, remote: true, sockets: true })
  readonly #options: ResolvedOptions
  readonly #deps: TransportDeps
  readonly #metrics: TransportMetrics
  readonly #peers = new Map<string, Peer>()
  readonly #batches: BatchesInFlight
  #running: Running | undefined
  #stopped: Promise<void> | undefined

  /** @throws ERR_INVALID_PARAMS */
  constructor(options: TcpOptions, deps: TransportDeps) {
    this.#options = resolveOptions(options)
    this.#deps = deps
    this.#batches = new BatchesInFlight(deps.clock, this.#options.abortGraceMs)
    this.#metrics = new TransportMetrics(deps.metrics, () => this.#countLanes())
  }

  /** @throws ERR_SHUTTING_DOWN before start and after stop */
  get endpoint(): string {
    return this.#required.endpoint
  }

  /** @throws ERR_NATIVE_MISSING, ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO */
  async start(): Promise<void> {
    const { bulkThreads, bulkThresholdBytes, engine: kind, listen } = this.#options
    const { host, port } = parseHostPort(listen)
    const { address } = await resolveHost(host)
    if (this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    const engine = (this.#deps.createEngine ?? createIoEngine)({ engine: kind, bulkThreads })
    try {
      this.#running = this.#listen(new LaneIo(engine, bulkThresholdBytes), { host: address, port })
    } catch (error) {
      await engine.close()
      throw error
    }
    this.#deps.logger.info(`TCP transport listens on ${this.#running.listener.endpoint}`, {
      endpoint: this.endpoint,
      engine: engine.kind,
      reason: engine.reason,
    })
  }

  reaches(window: RemoteWindow): boolean {
    return window.scheme === this.scheme
  }

  expose(region: Region, options: ExposeOptions): Exposure {
    const { exposures, endpoint } = this.#required
    return exposures.expose(region, options, endpoint)
  }

  execute(batch: readonly TransferOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return this.#batches.run(batch, signal, () => this.#carrier())
  }

  /**
   * Takes no new work, fails what waits, lets what is on the wire end for at most `stopTimeoutMs`, and closes
   * everything. Idempotent.
   */
  stop(): Promise<void> {
    // Later, because failing what waits calls back, and a callback may call `stop` again.
    this.#stopped ??= Promise.resolve().then(() => this.#stop())
    return this.#stopped
  }

  get #required(): Running {
    if (this.#running == null)
      throw new MooncakeError('ERR_SHUTTING_DOWN', 'The TCP transport is not running')
    return this.#running
  }

  #listen(io: LaneIo, address: HostPort): Running {
    const { engine } = io
    const { clock, logger, security } = this.#deps
    const slots = new Slots(engine)
    const scratch = { slot: engine.attach(Buffer.allocUnsafeSlow(SCRATCH_BYTES)), byteLength: SCRATCH_BYTES }
    const metrics = this.#metrics
    const options = this.#options
    const exposures = new Exposures(slots, clock, options.abortGraceMs)
    const listener = new Listener({
      io,
      logger,
      security,
      options,
      address,
      exposures,
      scratch,
      metrics,
      clock,
    })
    const { host, port } = parseHostPort(listener.endpoint)
    const endpoint = formatHostPort({ host: options.advertiseHost ?? outwardHost(host), port })
    const sweepMs = Math.min(options.operationTimeoutMs, options.laneIdleMs) / SWEEPS_PER_TIMEOUT
    const sweeper = clock.every(sweepMs, () => {
      this.#sweep()
    })
    const stopping = new AbortController()
    return { engine, io, slots, exposures, listener, endpoint, sweeper, stopping }
  }

  #carrier(): BatchCarrier {
    const peers = new Set<Peer>()
    return {
      queue: (batch, index, op) => {
        this.#queue(batch, index, op, peers)
      },
      refused: error => {
        this.#metrics.failed('initiator', error)
      },
      post: () => {
        for (const peer of peers) peer.pump()
      },
      takeBack: batch => {
        for (const peer of peers) peer.takeBack(batch)
      },
      giveUp: batch => {
        for (const peer of peers) peer.closeLanesOf(batch)
      },
    }
  }

  /** @throws what makes the operation impossible, before anything is queued */
  #queue(batch: Batch, index: number, op: TransferOp, peers: Set<Peer>): void {
    if (this.#running == null || this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    assertTransferOp(op, TCP_WINDOWS)
    if (op.local.byteLength === 0) {
      batch.complete(index, 0)
      return
    }
    const { bulkThresholdBytes, stripeBytes, queuedOpsMaxPerPeer } = this.#options
    const peer = this.#peer(op.remote.window.endpoint, this.#running)
    if (peer.queued >= queuedOpsMaxPerPeer) {
      throw new MooncakeError(
        'ERR_OVERLOADED',
        `${queuedOpsMaxPerPeer} operations wait for this peer already`,
      )
    }
    peers.add(peer)
    peer.push(cut(batch, index, op, Math.max(stripeBytes, bulkThresholdBytes)))
  }

  #peer(endpoint: string, running: Running): Peer {
    const known = this.#peers.get(endpoint)
    if (known != null) return known
    parseHostPort(endpoint)
    const { clock } = this.#deps
    const peer = new Peer({
      options: this.#options,
      clock,
      metrics: this.#metrics,
      slots: running.slots,
      connect: onFrameEnd => this.#connect(endpoint, running, onFrameEnd),
    })
    this.#peers.set(endpoint, peer)
    return peer
  }

  async #connect(
    endpoint: string,
    { io, stopping }: Running,
    onFrameEnd: (end: FrameEnd) => void,
  ): Promise<ClientLane> {
    const { clock, security, logger } = this.#deps
    const { connectTimeoutMs, socketBufferBytes, frameOpsMax } = this.#options
    const limits = { frameOpsMax, framesMax: SMALL_FRAMES_MAX }
    try {
      const options = {
        io,
        security,
        clock,
        connectTimeoutMs,
        socketBufferBytes,
        limits,
        signal: stopping.signal,
      }
      const connected = await connectLane(endpoint, options)
      return new ClientLane(connected.socket, connected.limits, clock, onFrameEnd)
    } catch (error) {
      const { code, message } = asMooncakeError(error)
      logger.warn(`No lane to ${endpoint}: ${message}`, { code, endpoint })
      throw error
    }
  }

  #sweep(): void {
    const nowMs = this.#deps.clock.nowMs()
    this.#running?.listener.sweep(nowMs)
    for (const [endpoint, peer] of this.#peers) {
      peer.sweep(nowMs)
      if (peer.idle) this.#peers.delete(endpoint)
    }
  }

  async #stop(): Promise<void> {
    if (this.#running == null) return
    const { clock } = this.#deps
    const { engine, slots, exposures, listener, sweeper, stopping } = this.#running
    const reason = new MooncakeError('ERR_SHUTTING_DOWN')
    const peers = [...this.#peers.values()]
    const timer = clock.after(this.#options.stopTimeoutMs, () => {
      for (const peer of peers) for (const lane of peer.lanes) lane.fail(reason)
      listener.destroy(reason)
    })
    stopping.abort(reason)
    await Promise.all([listener.close(), ...peers.map(peer => peer.close()), this.#batches.idle()])
    timer[Symbol.dispose]()
    sweeper[Symbol.dispose]()
    await exposures.revokeAll()
    this.#running = undefined
    slots.clear()
    await engine.close()
  }

  #countLanes(): number {
    const initiated = [...this.#peers.values()].reduce((sum, peer) => sum + peer.lanes.length, 0)
    return initiated + (this.#running?.listener.laneCount ?? 0)
  }
}
