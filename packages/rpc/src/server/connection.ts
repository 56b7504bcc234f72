import type { Socket } from 'node:net'
import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { Outcome } from '../metrics.js'
import { DEADLINE_DEFAULT_MS, DEADLINE_MAX_MS } from '../options.js'
import type { Surroundings } from '../surroundings.js'
import { Carriers } from '../wire/carriers.js'
import { decodeLent, encodeEmptyFrame, encodeFrame, encodeMessage } from '../wire/codec.js'
import { FrameKind, type Frame } from '../wire/frame.js'
import { Link, type LinkHandler } from '../wire/link.js'
import { failureOf } from '../wire/messages.js'
import type { HandlerRegistry, Registration } from './registry.js'
import { ServedRequest } from './request.js'

/** What a connection tells its server. */
export interface ConnectionOwner {
  onRequest(request: ServedRequest): void
  onRequestSettled(request: ServedRequest): void
  onConnectionClosed(connection: InboundConnection): void
}

/** One accepted connection and its requests in work. */
export class InboundConnection implements LinkHandler {
  readonly #around: Surroundings
  readonly #handlers: HandlerRegistry
  readonly #owner: ConnectionOwner
  readonly #link: Link
  readonly #requests = new Map<number, ServedRequest>()
  #opened = false
  #draining = false

  constructor(
    socket: Socket,
    peer: string,
    around: Surroundings,
    handlers: HandlerRegistry,
    owner: ConnectionOwner,
  ) {
    this.#around = around
    this.#handlers = handlers
    this.#owner = owner
    const carriers = new Carriers(around.carriers, around.clock, 0) // Which of them to leave out the client says.
    this.#link = new Link(socket, 'server', peer, around, carriers, this)
  }

  /** Requests in work go on, new ones are refused. */
  drain(): void {
    this.#draining = true
    if (!this.#opened) this.close()
    else this.#link.send(encodeFrame(FrameKind.goodbye, 0, 0, failureOf(shuttingDown())))
  }

  close(): void {
    this.#link.close()
  }

  onOpen(): void {
    this.#opened = true
  }

  onFrame(frame: Frame): void {
    switch (frame.kind) {
      case FrameKind.request:
        this.#receiveRequest(frame)
        return
      case FrameKind.cancel:
        this.#requests.get(frame.id)?.abandon(new MooncakeError('ERR_RPC_FAIL', 'The caller cancelled'))
        return
      case FrameKind.ping:
        this.#link.send(encodeEmptyFrame(FrameKind.pong, frame.id))
        return
      default:
        throw new MooncakeError('ERR_PROTOCOL', `Unexpected frame of kind ${frame.kind} from a client`)
    }
  }

  onClose(error: MooncakeError | undefined): void {
    const reason = new MooncakeError('ERR_RPC_FAIL', 'The connection of the caller ended', { cause: error })
    for (const request of this.#requests.values()) request.abandon(reason)
    this.#owner.onConnectionClosed(this)
  }

  #receiveRequest(frame: Frame): void {
    const { id, attachment } = frame
    const [name, traceId, body] = decodeRequest(frame.body)
    if (this.#requests.has(id)) throw new MooncakeError('ERR_PROTOCOL', `Request id ${id} is in use`)
    const registration = this.#handlers.get(name)
    if (registration == null) {
      // Its name is the caller's choice: as a label it would grow the metrics without end.
      this.#refuse(frame, 'unknown', new MooncakeError('ERR_RPC_METHOD_UNKNOWN', `No method ${name} here`))
      return
    }
    const refusal = this.#refusal()
    if (refusal != null) {
      this.#refuse(frame, name, refusal)
      return
    }
    const deadlineMs = Math.min(frame.deadlineMs || DEADLINE_DEFAULT_MS, DEADLINE_MAX_MS)
    const { peer } = this.#link
    const init = { id, method: name, peer, deadlineMs, traceId, attachment }
    const request = new ServedRequest(this.#around, init)
    this.#requests.set(id, request)
    this.#owner.onRequest(request)
    this.#serve(request, registration, body)
  }

  #refuse({ id, attachment }: Frame, method: string, error: MooncakeError): void {
    attachment?.drop(error)
    this.#around.metrics.request(method, error.code, 0)
    this.#sendFailure(id, error)
  }

  #refusal(): MooncakeError | undefined {
    if (this.#draining) return shuttingDown()
    const { inflightCallsMax } = this.#around.settings
    if (this.#requests.size < inflightCallsMax) return undefined
    const message = `${inflightCallsMax} requests of this connection are in work`
    return new MooncakeError('ERR_OVERLOADED', message)
  }

  /** A handler that answers at once is not made to wait for a promise. */
  #serve(request: ServedRequest, { method, handler }: Registration, body: unknown): void {
    try {
      const response = handler(method.parseRequest(body), request)
      if (!isThenable(response)) this.#answer(request, response)
      else {
        response.then(
          value => {
            this.#answer(request, value)
          },
          (error: unknown) => {
            this.#answerFailure(request, error)
          },
        )
      }
    } catch (error) {
      this.#answerFailure(request, error)
    }
  }

  #answer(request: ServedRequest, response: unknown): void {
    try {
      if (!request.abandoned) this.#sendResponse(request, response)
    } catch (cause) {
      const message = `The answer of ${request.method} cannot be sent: ${asMooncakeError(cause).message}`
      this.#answerFailure(request, new MooncakeError('ERR_INTERNAL', message, { cause }))
      return
    }
    this.#settle(request, 'OK')
  }

  #answerFailure(request: ServedRequest, thrown: unknown): void {
    const error = asMooncakeError(thrown, request.failureCode)
    if (!request.abandoned) {
      if (error.code === 'ERR_INTERNAL') this.#logBug(request, thrown)
      this.#sendFailure(request.id, error)
    }
    this.#settle(request, error.code)
  }

  #logBug({ method, traceId, peer }: ServedRequest, thrown: unknown): void {
    const error = thrown instanceof Error ? thrown.stack : String(thrown)
    this.#around.logger.error('rpc handler failed', { method, traceId, peer, error })
  }

  #settle(request: ServedRequest, outcome: Outcome): void {
    request.settle()
    this.#requests.delete(request.id)
    const tookMs = this.#around.clock.nowMs() - request.begunMs
    this.#around.metrics.request(request.method, outcome, tookMs)
    this.#owner.onRequestSettled(request)
  }

  /** @throws ERR_INVALID_PARAMS for what cannot be encoded, or is larger than the caller takes */
  #sendResponse(request: ServedRequest, response: unknown): void {
    const bytesMax = Math.min(this.#link.peerFrameBytesMax, this.#around.settings.frameBytesMax)
    const head = { kind: FrameKind.response, id: request.id, deadlineMs: 0 }
    const frame = encodeMessage(head, response, request.attachedBytes, bytesMax)
    this.#link.send(frame, request.takeAttached())
  }

  #sendFailure(id: number, error: MooncakeError): void {
    this.#link.send(encodeFrame(FrameKind.failure, id, 0, failureOf(error)))
  }
}

/** More elements than we know come from a newer peer. @throws ERR_PROTOCOL */
function decodeRequest(frameBody: Buffer): [name: string, traceId: string, body: unknown] {
  const value = decodeLent(frameBody)
  if (Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'string') {
    return [value[0], value[1], value[2]]
  }
  throw new MooncakeError('ERR_PROTOCOL', 'REQUEST: expected an array of method, trace id and request')
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

function shuttingDown(): MooncakeError {
  return new MooncakeError('ERR_SHUTTING_DOWN', 'The peer is stopping')
}
