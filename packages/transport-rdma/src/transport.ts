import {
  asMooncakeError,
  assertTransferOp,
  BatchesInFlight,
  BatchOperation,
  MooncakeError,
  parseHostPort,
  type Batch,
  type BatchCarrier,
  type Clock,
  type CompletionStream,
  type Exposure,
  type ExposeOptions,
  type Logger,
  type MemoryProvider,
  type Metrics,
  type Region,
  type RemoteWindow,
  type Security,
  type Slice,
  type Startable,
  type TransferOp,
  type Transport,
  type WindowKind,
} from '@mooncake-ts/core'
import { Device } from './device.js'
import { DeviceHealth, openDevices } from './devices.js'
import { Exposures } from './exposures.js'
import { isKey } from './key.js'
import { LinkStore } from './link.js'
import { Listener } from './listener.js'
import { TransportMetrics } from './metrics.js'
import { native, type DeviceStats } from './native.js'
import { resolveOptions, type RdmaOptions, type ResolvedOptions } from './options.js'
import { Outgoing } from './outgoing.js'
import { Peer } from './peer.js'
import { cut } from './piece.js'
import { Registrations } from './registrations.js'
import { openSession } from './session.js'
import { StagedOperation } from './staged-operation.js'
import { Staging } from './staging.js'

export interface TransportDeps {
  readonly clock: Clock
  readonly logger: Logger
  readonly memory: MemoryProvider
  readonly metrics: Metrics
  readonly security: Security
}

const RDMA_WINDOWS: WindowKind = { scheme: 'rdma', isKey }
/** A page. */
const STAGING_BYTES_MIN = 4096
/** How often idle and stalled links are looked for. */
const SWEEPS_PER_LIMIT = 4

/** What exists between `start` and `stop`. */
interface Running {
  readonly devices: readonly Device[]
  readonly health: DeviceHealth<Device>
  readonly registrations: Registrations
  readonly exposures: Exposures
  readonly staging: Staging | undefined
  readonly listener: Listener
  readonly links: LinkStore
  readonly sweeper: Disposable
  /** Aborts connections that are being made. */
  readonly stopping: AbortController
}

/** One-sided READ and WRITE between Regions over RDMA. */
export class RdmaTransport implements Transport, Startable {
  readonly scheme = 'rdma'
  readonly supports = Object.freeze({ revoke: true, remote: true })
  readonly #options: ResolvedOptions
  readonly #deps: TransportDeps
  readonly #metrics: TransportMetrics
  readonly #peers = new Map<string, Peer>()
  readonly #batches: BatchesInFlight
  #queuedOps = 0
  #running: Running | undefined
  /** Started without a device, as `optional` allows. */
  #absent = false
  #stopped: Promise<void> | undefined

  /** @throws ERR_INVALID_PARAMS */
  constructor(options: RdmaOptions, deps: TransportDeps) {
    this.#options = resolveOptions(options)
    this.#deps = deps
    this.#batches = new BatchesInFlight(deps.clock, this.#options.abortGraceMs)
    this.#metrics = new TransportMetrics(deps.metrics, {
      links: () => this.#countLinks(),
      stagingBytes: () => this.staging.usedBytes,
      stagingWaiting: () => this.staging.waiting,
    })
  }

  /** @throws ERR_SHUTTING_DOWN before start and after stop */
  get endpoint(): string {
    return this.#absent ? 'none' : this.#required.listener.endpoint
  }

  /** What the devices have of this process, by name. */
  get stats(): ReadonlyMap<string, DeviceStats> {
    return new Map(this.#running?.devices.map(device => [device.name, device.stats]))
  }

  /** Ranges that are exposed, or not at rest. */
  get exposureCount(): number {
    return this.#running?.exposures.count ?? 0
  }

  /** What the memory has that callers' own small buffers pass through. */
  get staging(): { readonly usedBytes: number; readonly waiting: number } {
    const { usedBytes = 0, waiting = 0 } = this.#running?.staging ?? {}
    return { usedBytes, waiting }
  }

  /**
   * @throws ERR_NATIVE_MISSING, ERR_NOT_SUPPORTED and ERR_IO where there is no device, unless `optional`;
   * ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE
   */
  async start(): Promise<void> {
    const { logger, clock } = this.#deps
    let devices: Device[] = []
    try {
      const table = new (native().WindowTable)(this.#options.exposuresMax)
      devices = openDevices(this.#options, logger, options => new Device(options, table))
      const listener = await Listener.open({ ...this.#deps, options: this.#options, devices })
      const registrations = new Registrations(devices)
      const exposures = new Exposures(table, registrations, key => listener.recall(key))
      const health = new DeviceHealth(devices, logger)
      health.onChange = (device, up) => {
        for (const peer of this.#peers.values()) peer.onPort(device, up)
      }
      const links = new LinkStore(this.#options.linksMax)
      const sweepMs = Math.min(this.#options.linkIdleMs, this.#options.operationTimeoutMs) / SWEEPS_PER_LIMIT
      const sweeper = clock.every(sweepMs, () => {
        this.#sweep(links)
      })
      const { stagingBytesMax } = this.#options
      const staging =
        stagingBytesMax < STAGING_BYTES_MIN
          ? undefined
          : new Staging(this.#deps.memory, registrations, stagingBytesMax)
      const stopping = new AbortController()
      this.#running = {
        devices,
        health,
        registrations,
        exposures,
        staging,
        listener,
        links,
        sweeper,
        stopping,
      }
    } catch (error) {
      for (const device of devices) device.close()
      if (!this.#options.optional || devices.length > 0) throw error
      this.#absent = true
      const { code, message } = asMooncakeError(error)
      logger.warn(`Going on without RDMA: ${message}`, { code })
      return
    }
    const { listener } = this.#running
    logger.info(`RDMA transport listens on ${listener.endpoint}`, {
      endpoint: listener.endpoint,
      devices: devices.map(({ name, port }) => ({
        name,
        mtu: port.mtu,
        gidIndex: port.gidIndex,
        up: port.active,
      })),
    })
  }

  /** Not those of a peer that has no device. */
  reaches(window: RemoteWindow): boolean {
    return window.scheme === this.scheme && window.key.byteLength > 0 && !this.#absent
  }

  expose(region: Region, options: ExposeOptions): Exposure {
    if (this.#absent) return nowhere
    if (this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    const { exposures, listener } = this.#required
    return exposures.expose(region, options, listener.endpoint)
  }

  execute(batch: readonly TransferOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return this.#batches.run(batch, signal, () => this.#carrier(signal))
  }

  /**
   * Takes no new work, lets what is under way end for at most `stopTimeoutMs`, ends the links of peers and closes
   * everything. Idempotent.
   */
  stop(): Promise<void> {
    // Later, because failing what waits calls back, and a callback may call `stop` again.
    this.#stopped ??= Promise.resolve().then(() => this.#stop())
    return this.#stopped
  }

  get #required(): Running {
    if (this.#running == null)
      throw new MooncakeError('ERR_SHUTTING_DOWN', 'The RDMA transport is not running')
    return this.#running
  }

  #carrier(signal: AbortSignal): BatchCarrier {
    const outgoing = new Outgoing()
    return {
      queue: (batch, index, op) => {
        this.#queue(batch, index, op, outgoing)
      },
      refused: error => {
        this.#metrics.failed(error)
      },
      post: batch => {
        outgoing.post()
        if (signal.aborted) outgoing.takeBack(batch)
      },
      takeBack: batch => {
        outgoing.takeBack(batch)
      },
      giveUp: batch => {
        outgoing.closeLinksOf(batch)
      },
    }
  }

  /** @throws what makes the operation impossible, before anything is queued */
  #queue(batch: Batch, index: number, op: TransferOp, outgoing: Outgoing): void {
    if (this.#absent) throw new MooncakeError('ERR_TRANSFER_FAIL', 'This process has no RDMA device')
    if (this.#running == null || this.#stopped != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    assertTransferOp(op, RDMA_WINDOWS)
    const { local, remote } = op
    if (local.byteLength === 0) {
      batch.complete(index, 0)
      return
    }
    if (this.#queuedOps >= this.#options.queuedOpsMax) {
      throw new MooncakeError('ERR_OVERLOADED', `${this.#options.queuedOpsMax} operations wait already`)
    }
    const key = outgoing.keyOf(remote.window.key)
    const peer = this.#peer(remote.window.endpoint, this.#running)
    const enter = (onRest: () => void): BatchOperation => {
      this.#queuedOps++
      peer.enter(key)
      return new BatchOperation(batch, index, op, () => {
        this.#queuedOps--
        onRest()
        peer.leave(key)
      })
    }
    const { registrations, staging } = this.#running
    if (staging != null && this.#isStaged(local, staging, registrations)) {
      this.#stage(enter, staging, peer, outgoing)
      return
    }
    const registration = registrations.acquire(local.region, local.offset, local.byteLength)
    const operation = enter(() => {
      registrations.release(registration)
    })
    outgoing.add(peer, cut(operation, key, local, registration, this.#options.pieceBytes))
  }

  #isStaged(local: Slice, staging: Staging, registrations: Registrations): boolean {
    const { byteLength } = local
    return (
      byteLength <= this.#options.stagedBytesMax && staging.takes(byteLength) && !registrations.knows(local)
    )
  }

  /** @throws ERR_OUT_OF_MEMORY, and then `enter` was not called */
  #stage(
    enter: (onRest: () => void) => BatchOperation,
    staging: Staging,
    peer: Peer,
    outgoing: Outgoing,
  ): void {
    staging.prepare()
    const operation = new StagedOperation(
      enter(() => {}),
      {
        staging,
        copyPool: this.#deps.memory.copyPool,
        onAdmitted: admitted => {
          outgoing.admitted(admitted)
        },
        post: (staged, { slice, registration }) => {
          const { kind, local, remote } = staged.op
          this.#metrics.staged(kind, local.byteLength)
          const key = outgoing.keyOf(remote.window.key)
          outgoing.add(peer, cut(staged, key, slice, registration, this.#options.pieceBytes))
        },
      },
    )
    if (!operation.admitted) outgoing.await(operation)
  }

  #peer(endpoint: string, running: Running): Peer {
    const known = this.#peers.get(endpoint)
    if (known != null) return known
    parseHostPort(endpoint)
    const { devices, health, links, stopping } = running
    const { clock, security, logger } = this.#deps
    const { connectTimeoutMs } = this.#options
    const peer = new Peer({
      options: this.#options,
      clock,
      logger,
      metrics: this.#metrics,
      devices,
      health,
      store: links,
      openSession: async () => {
        try {
          return await openSession(endpoint, { clock, security, connectTimeoutMs, signal: stopping.signal })
        } catch (error) {
          const { code, message } = asMooncakeError(error)
          logger.warn(`No control connection to ${endpoint}: ${message}`, { code, endpoint })
          throw error
        }
      },
    })
    this.#peers.set(endpoint, peer)
    return peer
  }

  #sweep(links: LinkStore): void {
    links.sweep(this.#options, this.#deps.clock.nowMs())
    for (const [endpoint, peer] of this.#peers) {
      if (!peer.idle) continue
      this.#peers.delete(endpoint)
      void peer.close()
    }
  }

  async #stop(): Promise<void> {
    if (this.#running == null) return
    const { devices, registrations, exposures, staging, listener, sweeper, stopping } = this.#running
    const reason = new MooncakeError('ERR_SHUTTING_DOWN')
    const timer = this.#deps.clock.after(this.#options.stopTimeoutMs, () => {
      for (const peer of this.#peers.values()) void peer.close()
    })
    await this.#batches.idle()
    timer[Symbol.dispose]()
    sweeper[Symbol.dispose]()
    stopping.abort(reason)
    await Promise.all([listener.close(), ...[...this.#peers.values()].map(peer => peer.close())])
    await exposures.revokeAll()
    staging?.close()
    registrations.clear()
    this.#running = undefined
    for (const device of devices) device.close()
  }

  #countLinks(): number {
    return (this.#running?.links.size ?? 0) + (this.#running?.listener.linkCount ?? 0)
  }
}

/** Of a process without a device: no peer tries it. */
const nowhere: Exposure = Object.freeze({
  window: Object.freeze({ scheme: 'rdma', endpoint: 'none', key: new Uint8Array(0) }),
  revoke: () => Promise.resolve(),
})
