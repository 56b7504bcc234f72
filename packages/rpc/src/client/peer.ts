import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  errorCode,
  MooncakeError,
  type RpcCallOptions,
  type RpcClient,
  type RpcMethod,
} from '@mooncake-ts/core'
import { parseEndpoint, type Endpoint } from '../endpoint.js'
import { DEADLINE_DEFAULT_MS, DEADLINE_MAX_MS } from '../options.js'
import type { Surroundings } from '../surroundings.js'
import { Carriers } from '../wire/carriers.js'
import { Backoff } from './backoff.js'
import { Call, type CallHolder, type CallInit } from './call.js'
import { connectError, OutboundConnection } from './connection.js'
import { dial } from './dial.js'

/** Trace ids of this process: `<random>-<count>`. */
const TRACE_PREFIX = randomBytes(6).toString('hex')
let traceCount = 0

function attachedTo({ attachment, onSent = () => {} }: RpcCallOptions<never>): CallInit['attachment'] {
  return attachment == null ? undefined : { bytes: attachment, onSent }
}

/** A socket wants to know who receives when it is made; the connection comes with the socket. */
class Incoming {
  receiver: OutboundConnection | undefined

  readonly push = (bytes: Buffer): void => {
    this.receiver?.receive(bytes)
  }
}

/**
 * All connections to one endpoint. They open when calls need them, one attempt at a time, with a pause after
 * failures. A call that was sent is never sent again: whether it was carried out is for the caller to find
 * out.
 */
export class Peer implements RpcClient, CallHolder {
  readonly endpoint: string
  readonly #address: Endpoint
  readonly #around: Surroundings
  readonly #connections: OutboundConnection[] = []
  readonly #waiting = new Set<Call>()
  readonly #backoff: Backoff
  readonly #carriers: Carriers
  readonly #stopped = new AbortController()
  #attempt: Promise<void> | undefined
  #lastError: unknown
  #inflightCalls = 0
  /** The last connection could have been carried, and is not. */
  #makeshift = false
  readonly #onSettled = (): void => {
    this.#inflightCalls--
  }

  /** @throws ERR_INVALID_PARAMS */
  constructor(endpoint: string, around: Surroundings) {
    this.endpoint = endpoint
    this.#address = parseEndpoint(endpoint)
    this.#around = around
    const { backoffMinMs, backoffMaxMs, idleConnectionMs } = around.settings
    this.#backoff = new Backoff(around.clock, backoffMinMs, backoffMaxMs)
    this.#carriers = new Carriers(around.carriers, around.clock, idleConnectionMs)
  }

  call<Request, Response>(
    method: RpcMethod<Request, Response>,
    request: Request,
    options: RpcCallOptions<Response> = {},
  ): Promise<Response> {
    return new Promise<Response>((resolve, reject) => {
      const deadlineMs = options.deadlineMs ?? method.deadlineMs ?? DEADLINE_DEFAULT_MS
      try {
        this.#admit(method.name, deadlineMs, options.signal)
      } catch (error) {
        options.onSent?.()
        throw error
      }
      this.#inflightCalls++
      const call = new Call(this.#around, {
        endpoint: this.endpoint,
        method,
        request,
        deadlineMs,
        traceId: options.traceId ?? `${TRACE_PREFIX}-${(traceCount++).toString(36)}`,
        signal: options.signal,
        attachment: attachedTo(options),
        sink: options.sink as CallInit['sink'],
        resolve: resolve as (response: unknown) => void,
        reject,
        onSettled: this.#onSettled,
      })
      this.#dispatch(call)
    })
  }

  abandon(call: Call): void {
    this.#waiting.delete(call)
  }

  forget(call: Call): void {
    this.#waiting.delete(call)
  }

  deadlineError(call: Call): MooncakeError {
    if (this.#lastError != null) return connectError(this.endpoint, this.#lastError)
    const message = `No connection to ${this.endpoint} within the ${call.init.deadlineMs} ms of the call`
    return new MooncakeError('ERR_RPC_TIMEOUT', message)
  }

  /** Calls that wait or are in flight fail with ERR_SHUTTING_DOWN. Settles when every socket is gone. */
  async close(): Promise<void> {
    const error = new MooncakeError('ERR_SHUTTING_DOWN', 'The RpcService of this process has stopped')
    this.#stopped.abort(error)
    const connections = [...this.#connections]
    for (const connection of connections) connection.close(error)
    await this.#attempt
    await Promise.all(connections.map(connection => connection.closed))
  }

  /** @throws what the caller is told instead of being served */
  #admit(method: string, deadlineMs: number, signal: AbortSignal | undefined): void {
    signal?.throwIfAborted()
    this.#stopped.signal.throwIfAborted()
    if (!(deadlineMs <= DEADLINE_MAX_MS)) {
      const message = `deadlineMs of ${method}: expected at most ${DEADLINE_MAX_MS}, got ${deadlineMs}`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    if (deadlineMs <= 0) throw new MooncakeError('ERR_RPC_TIMEOUT', `No time is left for ${method}`)
    const { inflightCallsMax } = this.#around.settings
    if (this.#inflightCalls >= inflightCallsMax) {
      const message = `${inflightCallsMax} calls to ${this.endpoint} are in flight`
      throw new MooncakeError('ERR_OVERLOADED', message)
    }
  }

  #dispatch(call: Call): void {
    const connection = this.#leastLoaded()
    if (connection == null) {
      call.holder = this
      this.#waiting.add(call)
      this.#connect()
      return
    }
    const busy = connection.inflightCalls > 0
    connection.send(call)
    if (busy && this.#connections.length < this.#around.settings.connectionsPerPeer) this.#connect()
  }

  #leastLoaded(): OutboundConnection | undefined {
    let least: OutboundConnection | undefined
    for (const connection of this.#connections) {
      if (!connection.isOpen) continue
      if (least == null || connection.inflightCalls < least.inflightCalls) least = connection
    }
    return least
  }

  #connect(): void {
    this.#attempt ??= this.#open()
  }

  async #open(): Promise<void> {
    const { clock, logger, settings } = this.#around
    try {
      const { signal } = this.#stopped
      const pauseMs = this.#backoff.remainingMs
      if (pauseMs > 0) await clock.sleep(pauseMs, signal)
      const timeoutMs = settings.connectTimeoutMs
      const incoming = new Incoming()
      const socket = await dial(this.#address, { timeoutMs, clock, signal, onData: incoming.push })
      await this.#shakeHands(socket, incoming)
    } catch (error) {
      this.#attempt = undefined // Before callers hear of it: who tries again at once begins the next attempt.
      this.#backoff.failed()
      this.#lastError = error
      if (errorCode(error) !== 'ERR_SHUTTING_DOWN') {
        const reason = error instanceof Error ? error.message : String(error)
        logger.debug('rpc connection failed', { peer: this.endpoint, code: errorCode(error), reason })
      }
      for (const call of this.#takeWaiting()) call.fail(this.#refusal(error))
    }
  }

  /** Settles when the connection takes calls, or is no more. */
  #shakeHands(socket: Socket, incoming: Incoming): Promise<void> {
    return new Promise((resolve, reject) => {
      const connection = new OutboundConnection(socket, this.endpoint, this.#around, this.#carriers, {
        onOpen: stays => {
          this.#announce(stays)
          this.#attempt = undefined
          this.#lastError = undefined
          for (const call of this.#takeWaiting()) this.#dispatch(call)
          resolve()
        },
        onClose: error => {
          this.#forget(connection, error)
          reject(error ?? new MooncakeError('ERR_RPC_FAIL', 'The peer closed the connection at once'))
        },
      })
      incoming.receiver = connection
      this.#connections.push(connection)
    })
  }

  /** Once, until there was one that is carried. */
  #announce(stays: MooncakeError | undefined): void {
    if (stays != null && !this.#makeshift) {
      const fields = { peer: this.endpoint, reason: stays.message }
      this.#around.logger.warn('rpc goes on over its socket', fields)
    }
    this.#makeshift = stays != null
  }

  #forget(connection: OutboundConnection, error: MooncakeError | undefined): void {
    this.#connections.splice(this.#connections.indexOf(connection), 1)
    if (connection.proven) this.#backoff.succeeded()
    else if (connection.opened && error != null) {
      this.#backoff.failed()
      this.#lastError = error
    }
  }

  #refusal(error: unknown): unknown {
    return this.#stopped.signal.aborted ? this.#stopped.signal.reason : connectError(this.endpoint, error)
  }

  #takeWaiting(): Call[] {
    const calls = [...this.#waiting]
    this.#waiting.clear()
    return calls
  }
}
