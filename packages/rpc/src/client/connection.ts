import type { Socket } from 'node:net'
import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { Surroundings } from '../surroundings.js'
import type { Carriers } from '../wire/carriers.js'
import { decodeBody, encodeEmptyFrame, encodeMessage } from '../wire/codec.js'
import { FrameKind, type Frame } from '../wire/frame.js'
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
  readonly #onOpen: (stays: MooncakeError | undefined) => void
  readonly #onClose: (error: MooncakeError | undefined) => void
  readonly #calls = new Map<number, Call>()
  #keepAlive: Disposable | undefined
  /** Why the peer takes nothing new. */
  #goodbye: MooncakeError | undefined
  /** Why this end closes. */
  #closing: MooncakeError | undefined
  #ended = false
  #nextId = 1
  /** When it was looked last. */
  #heardBytes = 0
  #pinged = false
  #idleSinceMs = 0
  /** A carrier would be better. */
  #makeshift = false
  /** Takes no new calls, so that the next one tries the carrier again. */
  #retired = false

  /** `onOpen` and `onClose` are called at most once each, and never inside of this constructor. */
  constructor(
    socket: Socket,
    endpoint: string,
    around: Surroundings,
    carriers: Carriers,
    events: {
      /** @param stays why it is not carried by what could carry it */
      readonly onOpen: (stays: MooncakeError | undefined) => void
      readonly onClose: (error: MooncakeError | undefined) => void
    },
  ) {
    this.#around = around
    this.#endpoint = endpoint
    this.#onOpen = events.onOpen
    this.#onClose = events.onClose
    this.#link = new Link(socket, 'client', endpoint, around, carriers, this)
    this.closed = this.#link.closed
  }

  /** Takes new calls. */
  get isOpen(): boolean {
    return this.opened && !this.#ended && !this.#retired && this.#goodbye == null
  }

  get inflightCalls(): number {
    return this.#calls.size
  }

  /** What the socket got; valid until this returns. */
  receive(bytes: Buffer): void {
    this.#link.receive(bytes)
  }

  send(call: Call): void {
    const { method, traceId, request, attachment } = call.init
    let frame: Buffer
    try {
      const head = { kind: FrameKind.request, id: this.#takeId(call), deadlineMs: call.remainingMs }
      const bytesMax = Math.min(this.#link.peerFrameBytesMax, this.#around.settings.frameBytesMax)
      frame = encodeMessage(head, [method.name, traceId, request], attachment?.bytes.byteLength, bytesMax)
      this.#checkBacklog(frame.length + (attachment?.bytes.byteLength ?? 0))
    } catch (error) {
      call.fail(error)
      return
    }
    call.holder = this
    this.#calls.set(call.id, call)
    this.#link.send(frame, call.post())
  }

  abandon(call: Call): void {
    if (this.#calls.delete(call.id)) this.#link.send(encodeEmptyFrame(FrameKind.cancel, call.id))
  }

  forget(call: Call): void {
    this.#calls.delete(call.id)
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

  onOpen(stays: MooncakeError | undefined): void {
    const { clock, settings } = this.#around
    this.opened = true
    this.#makeshift = stays != null
    this.#idleSinceMs = clock.nowMs()
    this.#keepAlive = clock.every(settings.keepAliveMs, () => {
      this.#checkAlive()
    })
    this.#onOpen(stays)
  }

  onFrame(frame: Frame): void {
    this.#receive(frame)
    const { attachment } = frame
    if (attachment?.taken === false) attachment.drop(new MooncakeError('ERR_RPC_FAIL', 'Nobody waits for it'))
  }

  #receive(frame: Frame): void {
    switch (frame.kind) {
      case FrameKind.response:
        this.#take(frame.id)?.answer(decodeBody(frame.body), frame.attachment)
        return
      case FrameKind.failure:
        this.#take(frame.id)?.fail(errorOf(decodeMessage(FAILURE, frame.body, 'FAILURE')))
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
    for (const call of [...this.#calls.values()]) call.fail(this.#lostError(cause))
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

  /** Undefined for a late answer: its caller has given up. */
  #take(id: number): Call | undefined {
    this.proven = true
    return this.#calls.get(id)
  }

  /** @throws ERR_OVERLOADED */
  #checkBacklog(bytes: number): void {
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
    if (this.#calls.size > 0 && !this.#makeshift) this.#idleSinceMs = nowMs
    this.#retired = nowMs - this.#idleSinceMs >= settings.idleConnectionMs
    if (this.#retired && this.#calls.size === 0) {
      this.#link.close()
    } else if (this.#link.receivedBytes !== this.#heardBytes || this.#calls.size === 0) {
      this.#heardBytes = this.#link.receivedBytes
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
