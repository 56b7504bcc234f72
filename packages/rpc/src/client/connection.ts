import type { Socket } from 'node:net'
import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { Surroundings } from '../surroundings.js'
import { decodeBody, encodeEmptyFrame, encodeFrame } from '../wire/codec.js'
import { FrameKind, HEADER_BYTES, type Frame } from '../wire/frame.js'
import { Link, type LinkHandler } from '../wire/link.js'
import { decodeMessage, errorOf, FAILURE } from '../wire/messages.js'
import type { Call, CallHolder } from './call.js'

const ID_MAX = 0xffff_ffff

/** One authenticated connection and the calls in flight on it. */
export class OutboundConnection implements CallHolder, LinkHandler {
  /** Settles when the socket is gone. */
  readonly closed: Promise<void>
  /** An answer has come: the peer does more than accept connections. */
  proven = false
  /** The handshake succeeded, whatever came later. */
  opened = false
  readonly #around: Surroundings
  readonly #endpoint: string
  readonly #link: Link
  readonly #onOpen: () => void
  readonly #onClose: (error: MooncakeError | undefined) => void
  readonly #calls = new Map<number, Call>()
  #keepAlive: Disposable | undefined
  /** Why the peer takes nothing new. */
  #goodbye: MooncakeError | undefined
  /** Why this end closes. */
  #closing: MooncakeError | undefined
  #ended = false
  #nextId = 1
  #heard = true
  #pinged = false
  #idleSinceMs = 0

  /** `onOpen` and `onClose` are called at most once each, and never inside of this constructor. */
  constructor(
    socket: Socket,
    endpoint: string,
    around: Surroundings,
    events: { readonly onOpen: () => void; readonly onClose: (error: MooncakeError | undefined) => void },
  ) {
    this.#around = around
    this.#endpoint = endpoint
    this.#onOpen = events.onOpen
    this.#onClose = events.onClose
    this.#link = new Link(socket, 'client', endpoint, around, this)
    this.closed = this.#link.closed
  }

  /** Takes new calls. */
  get isOpen(): boolean {
    return this.opened && !this.#ended && this.#goodbye == null
  }

  get inflightCalls(): number {
    return this.#calls.size
  }

  send(call: Call): void {
    const { method, traceId, request } = call.init
    let frame: Buffer
    try {
      frame = encodeFrame(FrameKind.request, this.#takeId(call), call.remainingMs, [
        method.name,
        traceId,
        request,
      ])
      this.#checkSize(frame)
    } catch (error) {
      call.fail(error)
      return
    }
    call.holder = this
    this.#calls.set(call.id, call)
    this.#link.send(frame)
  }

  abandon(call: Call): void {
    if (this.#calls.delete(call.id)) this.#link.send(encodeEmptyFrame(FrameKind.cancel, call.id))
  }

  deadlineError(call: Call): MooncakeError {
    const { method, deadlineMs } = call.init
    const message = `${method.name} at ${this.#endpoint} was not answered within ${deadlineMs} ms`
    return new MooncakeError('ERR_RPC_TIMEOUT', message)
  }

  /** Ends the connection; calls in flight fail with `error`. */
  close(error: MooncakeError): void {
    this.#closing = error
    this.#link.close()
  }

  onOpen(): void {
    const { clock, settings } = this.#around
    this.opened = true
    this.#idleSinceMs = clock.nowMs()
    this.#keepAlive = clock.every(settings.keepAliveMs, () => {
      this.#checkAlive()
    })
    this.#onOpen()
  }

  onFrame(frame: Frame): void {
    this.#heard = true
    switch (frame.kind) {
      case FrameKind.response:
        this.#settle(frame.id, decodeBody(frame.body))
        return
      case FrameKind.failure:
        this.#settle(frame.id, undefined, errorOf(decodeMessage(FAILURE, frame.body, 'FAILURE')))
        return
      case FrameKind.goodbye:
        this.#goodbye = errorOf(decodeMessage(FAILURE, frame.body, 'GOODBYE'))
        return
      case FrameKind.pong:
        return
      default:
        throw new MooncakeError('ERR_PROTOCOL', `Unexpected frame of kind ${frame.kind} from a server`)
    }
  }

  onClose(error: MooncakeError | undefined): void {
    this.#ended = true
    this.#keepAlive?.[Symbol.dispose]()
    const cause = error ?? this.#closing ?? this.#goodbye
    for (const call of this.#calls.values()) call.fail(this.#lostError(cause))
    this.#calls.clear()
    this.#onClose(cause)
  }

  #lostError(cause: MooncakeError | undefined): MooncakeError {
    if (this.#closing?.code === 'ERR_SHUTTING_DOWN') return this.#closing
    const reason = cause == null ? 'closed by the peer' : cause.message
    return new MooncakeError('ERR_RPC_FAIL', `Connection to ${this.#endpoint} lost: ${reason}`, { cause })
  }

  #takeId(call: Call): number {
    do {
      call.id = this.#nextId
      this.#nextId = this.#nextId === ID_MAX ? 1 : this.#nextId + 1
    } while (this.#calls.has(call.id))
    return call.id
  }

  #settle(id: number, response: unknown, error?: MooncakeError): void {
    this.proven = true
    const call = this.#calls.get(id)
    if (call == null) return // A late answer: its caller has given up.
    this.#calls.delete(id)
    if (error == null) call.answer(response)
    else call.fail(error)
  }

  /** @throws ERR_INVALID_PARAMS, ERR_OVERLOADED */
  #checkSize(frame: Buffer): void {
    const bytesMax = Math.min(this.#link.peerFrameBytesMax, this.#around.settings.frameBytesMax)
    const bytes = frame.length - HEADER_BYTES
    if (bytes > bytesMax) {
      const message = `The request has ${bytes} bytes, ${this.#endpoint} takes ${bytesMax}`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    const { outgoingBytes } = this.#link
    if (outgoingBytes > 0 && outgoingBytes + bytes > this.#around.settings.outgoingBytesMax) {
      const message = `${outgoingBytes} bytes wait for the connection to ${this.#endpoint}`
      throw new MooncakeError('ERR_OVERLOADED', message)
    }
  }

  /** TCP alone takes a quarter of an hour to notice that a peer is gone while data to it is on the way. */
  #checkAlive(): void {
    const { clock, settings } = this.#around
    const nowMs = clock.nowMs()
    if (this.#calls.size > 0) this.#idleSinceMs = nowMs
    if (nowMs - this.#idleSinceMs >= settings.idleConnectionMs) {
      this.#link.close()
    } else if (this.#heard || this.#calls.size === 0) {
      this.#heard = false
      this.#pinged = false
    } else if (!this.#pinged) {
      this.#pinged = true
      this.#link.send(encodeEmptyFrame(FrameKind.ping, 0))
    } else {
      const message = `${this.#endpoint} did not answer a ping within ${settings.keepAliveMs} ms`
      this.close(new MooncakeError('ERR_RPC_FAIL', message))
    }
  }
}

/** What callers who waited for a connection are told. */
export function connectError(endpoint: string, cause: unknown): MooncakeError {
  const error = asMooncakeError(cause, 'ERR_RPC_FAIL')
  if (error.code === 'ERR_UNAUTHENTICATED' || error.code === 'ERR_PROTOCOL') return error
  return new MooncakeError('ERR_RPC_FAIL', `${endpoint} cannot be reached: ${error.message}`, { cause })
}
