import { closeFd, errnoName, listenSocket, setSocketOptions, socketPeer } from '@mooncake-ts/io-uring'
import {
  asMooncakeError,
  assertMayBind,
  formatHostPort,
  isLoopback,
  MooncakeError,
  type Clock,
  type HostPort,
  type Logger,
  type Security,
} from '@mooncake-ts/core'
import type { ExposedRange } from './exposures.js'
import { greetAsServer, type LaneLimits } from './handshake.js'
import type { LaneIo } from './lane-io.js'
import { ServerLane, serverHeadBytes, type ServerLaneDeps } from './lane-server.js'
import { LaneSocket } from './lane-socket.js'
import type { ResolvedOptions } from './options.js'

/** Frames that an initiator may have without a response on one lane. */
const FRAMES_MAX = 16
/** Until the next try, when the system refuses to accept (out of descriptors). */
const ACCEPT_RETRY_MS = 100

const KEEP_ALIVE_SECONDS_MAX = 32_767

export interface ListenerDeps extends ServerLaneDeps {
  readonly io: LaneIo
  readonly logger: Logger
  readonly security: Security
  readonly options: ResolvedOptions
  /** `listen` with its host as a number. */
  readonly address: HostPort
}

/** Accepts lanes and serves them. A peer that misbehaves costs its own lane, nothing else. */
export class Listener {
  /** Where it listens; the port is known when it was 0. */
  readonly endpoint: string
  readonly #deps: ListenerDeps
  readonly #clock: Clock
  readonly #fd: number
  readonly #limits: LaneLimits
  /** Connections, and their lanes once they have greeted. */
  readonly #lanes = new Map<LaneSocket, ServerLane | undefined>()
  #acceptId = 0
  #closing = false
  /** Settles when no accept is in flight any more. */
  readonly #accepting: Promise<void>

  /** @throws ERR_INSECURE_BIND, ERR_ADDRESS_IN_USE, ERR_IO */
  constructor(deps: ListenerDeps) {
    const { host } = deps.address
    assertMayBind(deps.security, host)
    const listening = listenSocket(deps.address)
    this.#deps = deps
    this.#clock = deps.clock
    this.#fd = listening.fd
    this.endpoint = formatHostPort({ host, port: listening.port })
    if (deps.security.secret == null && isLoopback(host)) {
      deps.logger.info(
        'tcp has no cluster secret: it trusts everybody on this machine, and listens on loopback only',
        { endpoint: this.endpoint },
      )
    }
    this.#limits = { frameOpsMax: deps.options.frameOpsMax, framesMax: FRAMES_MAX }
    deps.exposures.onOverdue = range => {
      this.#closeLanesOf(range)
    }
    this.#accepting = new Promise(resolve => {
      this.#accept(resolve)
    })
  }

  get laneCount(): number {
    return this.#lanes.size
  }

  sweep(nowMs: number): void {
    for (const lane of this.#lanes.values()) lane?.sweep(nowMs, this.#deps.options.operationTimeoutMs)
  }

  /** Accepts nothing any more, lets lanes answer what was asked; settles when all are at rest. */
  async close(): Promise<void> {
    this.#closing = true
    this.#deps.io.engine.inline.cancel(this.#acceptId)
    await this.#accepting
    closeFd(this.#fd)
    for (const [socket, lane] of this.#lanes) {
      if (lane == null) socket.destroy(new MooncakeError('ERR_SHUTTING_DOWN'))
      else lane.finish()
    }
    await Promise.all([...this.#lanes.keys()].map(socket => socket.rest))
  }

  /** Ends all lanes now. */
  destroy(reason: MooncakeError): void {
    for (const socket of this.#lanes.keys()) socket.destroy(reason)
  }

  /**
   * The only way to stop a peer that stands still in the middle of a frame. Its other frames on those lanes
   * fail too.
   */
  #closeLanesOf(range: ExposedRange): void {
    for (const lane of this.#lanes.values()) {
      if (lane?.carries(range) === true)
        lane.fail(new MooncakeError('ERR_TRANSFER_FAIL', 'The lane was closed by a revoke'))
    }
  }

  #accept(ended: () => void): void {
    this.#acceptId = this.#deps.io.engine.inline.accept(this.#fd, result => {
      if (result >= 0) this.#take(result)
      if (this.#closing) ended()
      else if (result >= 0) this.#accept(ended)
      else {
        this.#deps.logger.warn(`Accepting failed: ${errnoName(result)}`)
        this.#clock.after(ACCEPT_RETRY_MS, () => {
          if (this.#closing) ended()
          else this.#accept(ended)
        })
      }
    })
  }

  #take(fd: number): void {
    const { io, logger, options } = this.#deps
    if (this.#closing || this.#lanes.size >= options.acceptedLanesMax) {
      if (!this.#closing)
        logger.warn('Refused a lane: acceptedLanesMax is reached', { code: 'ERR_OVERLOADED' })
      closeFd(fd)
      return
    }
    try {
      // A host may vanish without a word, and an idle target sends nothing that would tell.
      const keepAliveSeconds = Math.min(Math.ceil(options.laneIdleMs / 1000), KEEP_ALIVE_SECONDS_MAX)
      setSocketOptions(fd, { noDelay: true, sendBufferBytes: options.socketBufferBytes, keepAliveSeconds })
      const peer = socketPeer(fd)
      void this.#serve(new LaneSocket(io, fd, serverHeadBytes(this.#limits)), peer)
    } catch (error) {
      logger.warn('A new connection was lost', { code: asMooncakeError(error).code })
      closeFd(fd)
    }
  }

  async #serve(socket: LaneSocket, peer: string): Promise<void> {
    const { logger, security, options, metrics } = this.#deps
    this.#lanes.set(socket, undefined)
    const timer = this.#clock.after(options.connectTimeoutMs, () => {
      const message = `No handshake within ${options.connectTimeoutMs} ms`
      socket.destroy(new MooncakeError('ERR_PROTOCOL', message))
    })
    try {
      await greetAsServer(socket, security, this.#limits)
      const lane = new ServerLane(socket, this.#limits, this.#deps)
      this.#lanes.set(socket, lane)
      if (this.#closing) lane.finish()
    } catch (error) {
      socket.destroy(asMooncakeError(error))
    } finally {
      timer[Symbol.dispose]()
    }
    const reason = await socket.rest
    this.#lanes.delete(socket)
    const level = reason.code === 'ERR_PROTOCOL' || reason.code === 'ERR_UNAUTHENTICATED' ? 'warn' : 'debug'
    if (level === 'warn') metrics.failed('target', reason)
    logger[level](`A lane from ${peer} ended: ${reason.message}`, { code: reason.code, peer })
  }
}
