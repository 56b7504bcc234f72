import {
  asMooncakeError,
  errorCode,
  hasCode,
  MooncakeError,
  type Clock,
  type DirectoryHandlers,
  type DirectoryState,
  type Logger,
  type NodeInfo,
  type RpcMethod,
  type RpcService,
} from '@mooncake-ts/core'
import { BehaviorSubject } from 'rxjs'
import { DEPLOYMENT_MODE, Heartbeat, Register, Unregister } from '../protocol.js'
import type { MasterClientOptions } from './options.js'

const UNREGISTER_DEADLINE_MS = 1000

/** A registration. */
export interface Life {
  readonly nodeId: string
  readonly epoch: number
}

export interface LinkEvents {
  /** A new registration, or contact again within the same one. */
  onConnected(life: Life, isNew: boolean): void
  onDisconnected(): void
}

interface Member {
  readonly node: NodeInfo
  readonly handlers: DirectoryHandlers
  readonly events: LinkEvents
}

/**
 * The way to the master: which endpoint answers, whether we are registered there, and the heartbeats. While
 * the master is away calls fail at once; the next heartbeat finds out when it is back.
 */
export class MasterLink {
  readonly state$ = new BehaviorSubject<DirectoryState>('joining')
  readonly #rpc: RpcService
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #options: Required<MasterClientOptions>
  /** Callers that wait for an answer; all are told when the master goes away. */
  readonly #waiting = new Set<(error: MooncakeError) => void>()
  #endpointIndex = 0
  #failures = 0
  #life: Life | undefined
  #heartbeatMs: number
  #clientTtlMs: number | undefined
  #stopping: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake = (): void => {}
  #onStopped = (): void => {}
  #stopped: Promise<void> | undefined

  constructor(
    options: Required<MasterClientOptions>,
    parts: { readonly rpc: RpcService; readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#options = options
    this.#rpc = parts.rpc
    this.#clock = parts.clock
    this.#logger = parts.logger
    this.#heartbeatMs = options.heartbeatMs
  }

  get life(): Life | undefined {
    return this.#life
  }

  /** What the master said when this node registered. */
  get clientTtlMs(): number | undefined {
    return this.#clientTtlMs
  }

  get running(): boolean {
    return this.#stopping != null
  }

  /**
   * Settles at the first registration; rejects with the signal's reason, and gives up, when that comes first.
   * @throws ERR_UNAUTHENTICATED when the master has another secret
   */
  start(member: Member, signal: AbortSignal): Promise<void> {
    const stopping = new AbortController()
    this.#stopping = stopping
    this.#setState('joining')
    return new Promise((resolve, reject) => {
      let error: unknown = new MooncakeError('ERR_SHUTTING_DOWN', 'The node left before it was registered')
      const onAbort = (): void => {
        error = signal.reason
        void this.stop()
      }
      const onJoined = (): void => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      this.#onStopped = () => {
        signal.removeEventListener('abort', onAbort)
        reject(error)
      }
      const onRefused = (refusal: unknown): void => {
        error = refusal
        void this.stop()
      }
      this.#loop = this.#run(member, stopping.signal, { onJoined, onRefused })
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Tells the master where that is possible. */
  stop(): Promise<void> {
    if (this.#stopping == null) return Promise.resolve()
    this.#stopped ??= this.#stop(this.#stopping).finally(() => {
      this.#stopped = undefined
    })
    return this.#stopped
  }

  async #stop(stopping: AbortController): Promise<void> {
    stopping.abort()
    this.#wake()
    await this.#loop
    const life = this.#life
    this.#life = undefined
    if (life != null && this.state$.value === 'connected') {
      await this.#client()
        .call(Unregister, life, { deadlineMs: UNREGISTER_DEADLINE_MS })
        .catch(() => {}) // It will notice by the missing heartbeats.
    }
    this.#stopping = undefined
    this.#setAway()
    this.#onStopped()
  }

  /** @throws ERR_MASTER_UNAVAILABLE, ERR_RPC_TIMEOUT, the signal's reason, or what the master answered */
  call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): Promise<Response> {
    if (this.state$.value === 'away') return Promise.reject(unavailable())
    const deadlineMs = method.deadlineMs ?? this.#options.deadlineMs
    const life = this.#life
    return new Promise((resolve, reject) => {
      const client = this.#client()
      this.#waiting.add(reject)
      client
        .call(method, request, { deadlineMs, ...(signal == null ? {} : { signal }) })
        .finally(() => this.#waiting.delete(reject))
        .then(resolve, (error: unknown) => {
          reject(this.#translate(error, life))
        })
    })
  }

  #client() {
    return this.#rpc.connect(this.#options.endpoints[this.#endpointIndex]!)
  }

  /** A failed call is the first to know: the next heartbeat, or registration, comes at once. */
  #translate(error: unknown, life: Life | undefined): unknown {
    switch (errorCode(error)) {
      case 'ERR_CLIENT_NOT_FOUND':
        if (life === this.#life) this.#life = undefined
        this.#wake()
        return unavailable(error)
      case 'ERR_RPC_FAIL':
        this.#lookForMaster()
        return unavailable(error)
      case 'ERR_RPC_TIMEOUT':
        this.#lookForMaster()
        return error
      default:
        return error
    }
  }

  #lookForMaster(): void {
    if (this.running) this.#wake()
    else this.#tryNextEndpoint()
  }

  async #run(
    member: Member,
    stopping: AbortSignal,
    { onJoined, onRefused }: { readonly onJoined: () => void; readonly onRefused: (error: unknown) => void },
  ): Promise<void> {
    let joined = false
    while (!stopping.aborted) {
      try {
        const isNew = this.#life == null
        if (isNew) await this.#register(member)
        else await this.#beat(member)
        if (stopping.aborted) return
        joined = true
        onJoined()
        this.#failures = 0
        const wasAway = this.state$.value !== 'connected'
        this.#setState('connected')
        if (isNew || wasAway) member.events.onConnected(this.#life!, isNew)
        await this.#pause(this.#heartbeatMs)
      } catch (error) {
        if (stopping.aborted) return
        if (!joined && hasCode(error, 'ERR_UNAUTHENTICATED')) {
          onRefused(error) // A wrong secret does not become right by waiting.
          return
        }
        await this.#recover(error, member)
      }
    }
  }

  async #register({ node, handlers }: Member): Promise<void> {
    const { nodeId, name, rpcEndpoint } = node
    const request = {
      deploymentMode: DEPLOYMENT_MODE,
      nodeId,
      name,
      ...(rpcEndpoint == null ? {} : { rpcEndpoint }),
      segments: plain(handlers),
    }
    const answer = await this.#client().call(Register, request, this.#beatOptions())
    this.#life = { nodeId, epoch: answer.epoch }
    this.#heartbeatMs = Math.min(this.#options.heartbeatMs, answer.heartbeatMs)
    this.#clientTtlMs = answer.clientTtlMs
  }

  async #beat({ handlers }: Member): Promise<void> {
    await this.#client().call(Heartbeat, { ...this.#life!, segments: plain(handlers) }, this.#beatOptions())
  }

  async #recover(error: unknown, { node, events }: Member): Promise<void> {
    if (hasCode(error, 'ERR_CLIENT_NOT_FOUND') && this.#life != null) {
      this.#life = undefined // Register again, without a pause.
      events.onDisconnected()
      return
    }
    this.#failures++
    const fields = { node: node.name, code: errorCode(error), message: asMooncakeError(error).message }
    const wasConnected = this.state$.value === 'connected'
    if (wasConnected || this.#failures === 1) this.#logger.warn('The master is away', fields)
    if (wasConnected) events.onDisconnected()
    if (wasConnected || this.#failures >= this.#options.endpoints.length) this.#setAway()
    this.#tryNextEndpoint()
    const { backoffMinMs, backoffMaxMs } = this.#options
    await this.#pause(Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(20, this.#failures - 1)))
  }

  #tryNextEndpoint(): void {
    this.#endpointIndex = (this.#endpointIndex + 1) % this.#options.endpoints.length
  }

  #beatOptions(): { readonly deadlineMs: number; readonly signal: AbortSignal } {
    return { deadlineMs: this.#options.heartbeatDeadlineMs, signal: this.#stopping!.signal }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      const timer = this.#clock.after(delayMs, resolve)
      this.#wake = () => {
        timer[Symbol.dispose]()
        resolve()
      }
    })
  }

  #setState(state: DirectoryState): void {
    if (this.state$.value !== state) this.state$.next(state)
  }

  #setAway(): void {
    this.#setState('away')
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const reject of waiting) reject(unavailable())
  }
}

function plain(handlers: DirectoryHandlers) {
  return handlers.segments().map(segment => ({ ...segment, tags: [...segment.tags] }))
}

function unavailable(cause?: unknown): MooncakeError {
  return new MooncakeError('ERR_MASTER_UNAVAILABLE', undefined, cause == null ? {} : { cause })
}
