import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { asMooncakeError, hasCode, MooncakeError, type RpcCarrier } from '@mooncake-ts/core'
import type { Surroundings } from '../surroundings.js'
import type { Carriers } from './carriers.js'
import { encodeFrame, type Attached } from './codec.js'
import { FrameKind, FrameReader, type Frame } from './frame.js'
import { Handshake, type Session } from './handshake.js'
import { failureOf } from './messages.js'
import { Move } from './move.js'

/** Of a peer that has not proven itself. A HELLO has about 150. */
const HELLO_BYTES_MAX = 4096

/** Answers that wait for a slow reader; beyond, its requests are not read until it has caught up. */
const BACKLOG_BYTES_MAX = 2 ** 20

/** How long a link that fails reads on, so that its GOODBYE is not lost in a reset. */
const LINGER_MS = 1000

export interface LinkHandler {
  /**
   * Both ends are sure of each other.
   * @param stays why it stays on its socket although there is a carrier here
   */
  onOpen(stays?: MooncakeError): void
  /** What it throws closes the link. */
  onFrame(frame: Frame): void
  /** Last call, exactly one, also for a link that never opened. No error: one of the ends wanted it so. */
  onClose(error: MooncakeError | undefined): void
}

/**
 * One connected socket that speaks frames: handshake first, writes of one tick in one packet, an end with a
 * reason. After the handshake the frames may move to a carrier; the socket stays as the life line.
 */
export class Link {
  /** Address of the peer, for logs. */
  readonly peer: string
  /** Settles when the socket is gone, and what carried the frames. */
  readonly closed: Promise<void>
  #onClosed: () => void = () => {}
  readonly #socket: Socket
  /** What carries the frames: the socket, or what they have moved to. */
  #stream: Duplex
  readonly #role: 'client' | 'server'
  readonly #around: Surroundings
  readonly #carriers: Carriers
  /** Those that this end has told of. */
  readonly #offered: readonly RpcCarrier[]
  readonly #handler: LinkHandler
  readonly #handshake: Handshake
  readonly #reader: FrameReader
  #timer: Disposable
  #session: Session | undefined
  /** Also of a connection that stayed on its socket: the peer may have spoken of the carrier meanwhile. */
  #move: Move | undefined
  #ended = false
  #corked = false
  #receivedBytes = 0
  /** What the socket has not taken yet. */
  readonly #sending = new Set<Attached>()

  constructor(
    socket: Socket,
    role: 'client' | 'server',
    peer: string,
    around: Surroundings,
    carriers: Carriers,
    handler: LinkHandler,
  ) {
    const { settings, security, clock } = around
    this.peer = peer
    this.#socket = socket
    this.#stream = socket
    this.#role = role
    this.#around = around
    this.#carriers = carriers
    this.#offered = carriers.usable
    this.#handler = handler
    this.#reader = new FrameReader(HELLO_BYTES_MAX, { borrowed: role === 'client' })
    const features = this.#offered.map(({ name }) => name)
    this.#handshake = new Handshake(role, security, settings.frameBytesMax, features)
    this.#timer = clock.after(settings.handshakeTimeoutMs, () => {
      const message = `No authentication within ${settings.handshakeTimeoutMs} ms`
      this.#fail(new MooncakeError('ERR_RPC_TIMEOUT', message))
    })
    this.closed = new Promise(resolve => {
      this.#onClosed = resolve
    })
    this.#listen()
    if (role === 'client') this.send(this.#handshake.hello())
  }

  /** Bytes that nobody has taken yet. */
  get outgoingBytes(): number {
    return this.#stream.writableLength
  }

  /** The largest body that the peer takes; 0 before it said so. */
  get peerFrameBytesMax(): number {
    return this.#session?.frameBytesMax ?? 0
  }

  /** Whatever the peer says, and be it a part of a long message. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  send(frame: Buffer, attached?: Attached): void {
    if (this.#ended) {
      attached?.onSent()
      return
    }
    if (!this.#corked) {
      this.#corked = true
      this.#stream.cork()
      process.nextTick(() => {
        this.#uncork()
      })
    }
    this.#stream.write(frame)
    if (attached == null) return
    this.#sending.add(attached)
    this.#stream.write(attached.bytes, () => {
      this.#sent(attached)
    })
  }

  /** Sends what is queued, for at most `drainMs`, then ends the connection. */
  close(): void {
    this.#end(undefined, this.#around.settings.drainMs)
    this.#stream.end()
  }

  /** What the socket got. A client is told by whoever made its socket, and does not keep the bytes. */
  receive(chunk: Buffer): void {
    if (this.#stream === this.#socket) this.#push(chunk)
  }

  #push(chunk: Buffer): void {
    if (this.#ended) return // Read only to be thrown away.
    this.#receivedBytes += chunk.length
    try {
      this.#reader.push(chunk, frame => {
        if (this.#session == null && this.#move == null) this.#shakeHands(frame)
        else if (this.#move != null && (this.#session == null || frame.kind === FrameKind.carry)) {
          this.#move.receive(frame)
        } else this.#handler.onFrame(frame)
        return !this.#ended
      })
    } catch (error) {
      this.#fail(asMooncakeError(error))
    }
  }

  #listen(): void {
    const socket = this.#socket
    socket.setNoDelay(true)
    socket.setKeepAlive(true, this.#around.settings.keepAliveMs)
    if (this.#role === 'server') {
      socket.on('data', chunk => {
        this.receive(chunk)
      })
    }
    this.#watch(socket)
    socket.on('end', () => {
      this.#onLifeLineEnd()
    })
    socket.on('close', () => {
      this.#onLifeLineEnd()
      if (this.#stream.closed) this.#onClosed()
    })
  }

  /** The socket, and later what the frames have moved to. */
  #watch(stream: Duplex): void {
    stream.on('drain', () => stream.resume())
    stream.on('end', () => {
      if (stream === this.#stream) this.#receiveEnd()
    })
    stream.on('error', cause => {
      this.#end(
        new MooncakeError('ERR_RPC_FAIL', `Connection to ${this.peer} lost: ${cause.message}`, { cause }),
      )
    })
    stream.on('close', () => {
      if (stream === this.#stream) this.#onStreamClosed()
    })
  }

  #onStreamClosed(): void {
    this.#end(undefined)
    this.#timer[Symbol.dispose]()
    for (const attached of this.#sending) this.#sent(attached)
    this.#socket.destroySoon()
    if (this.#socket.closed) this.#onClosed()
  }

  /** Of a connection that was moved: whoever closes in order does so when both ends have said all. */
  #onLifeLineEnd(): void {
    if (this.#stream === this.#socket) return
    this.#end(undefined)
    this.#stream.destroy()
  }

  #shakeHands(frame: Frame): void {
    const { reply, session } = this.#handshake.receive(frame)
    if (reply != null) this.send(reply)
    if (session == null) return
    this.#timer[Symbol.dispose]()
    const carriers = this.#offered.filter(({ name }) => session.features.has(name))
    const [preferred] = carriers
    if (preferred == null) {
      this.#open(session, undefined, this.#reasonToStay())
      return
    }
    const { clock, settings } = this.#around
    const deps = { clock, carriers, timeoutMs: settings.carrierTimeoutMs }
    this.#move = new Move(this.#role, deps, {
      send: bytes => {
        this.send(bytes)
      },
      onDone: (stream, why) => {
        if (stream == null && this.#role === 'client') this.#carriers.failed(preferred)
        this.#open(session, stream, why)
      },
      onFail: error => {
        this.#fail(error)
      },
    })
  }

  /** None where sockets are all that there is here. */
  #reasonToStay(): MooncakeError | undefined {
    if (this.#carriers.none) return undefined
    const why =
      this.#offered.length > 0
        ? 'the peer has no such carrier, or it does not work there just now'
        : 'the carriers of this end do not work just now'
    return new MooncakeError('ERR_RPC_FAIL', why)
  }

  #open(session: Session, stream: Duplex | undefined, stays: MooncakeError | undefined): void {
    this.#session = session
    this.#reader.frameBytesMax = this.#around.settings.frameBytesMax
    if (stream != null) this.#carryOn(stream)
    if (!this.#ended) this.#handler.onOpen(stays)
  }

  #carryOn(stream: Duplex): void {
    this.#uncork()
    this.#move = undefined
    this.#stream = stream
    this.#watch(stream)
    stream.on('data', (chunk: Buffer) => {
      this.#push(chunk)
    })
    // Either may have ended before anybody listened.
    if (stream.closed) this.#onStreamClosed()
    else if (this.#socket.readableEnded || this.#socket.destroyed) this.#onLifeLineEnd()
  }

  #receiveEnd(): void {
    if (this.#reader.pending && !this.#ended) {
      this.#fail(new MooncakeError('ERR_PROTOCOL', 'The connection ended in the middle of a frame'))
    }
    this.#end(undefined)
    this.#stream.end()
  }

  /** The peer, or its silence, is at fault: tell it, log it, end the connection. */
  #fail(error: MooncakeError): void {
    if (this.#ended) return
    const { logger, metrics } = this.#around
    metrics.brokenConnection(error.code)
    const fields = { code: error.code, peer: this.peer, role: this.#role, reason: error.message }
    const bug = hasCode(error, 'ERR_INTERNAL')
    if (bug) logger.error('rpc connection closed', { ...fields, stack: stackOf(error) })
    else logger.warn('rpc connection closed', fields)
    this.send(encodeFrame(FrameKind.goodbye, 0, 0, failureOf(error)))
    this.#end(error)
    this.#stream.end()
  }

  #end(error: MooncakeError | undefined, lingerMs = LINGER_MS): void {
    if (this.#ended) return
    this.#ended = true
    this.#timer[Symbol.dispose]()
    this.#move?.cancel()
    this.#stream.resume()
    this.#timer = this.#around.clock.after(lingerMs, () => this.#stream.destroy())
    this.#handler.onClose(error)
    this.#reader.fail(
      new MooncakeError('ERR_RPC_FAIL', `The connection to ${this.peer} ended`, { cause: error }),
    )
  }

  #sent(attached: Attached): void {
    if (this.#sending.delete(attached)) attached.onSent()
  }

  #uncork(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#stream.uncork()
    // Only requests are held back: a client that stopped reading answers could never catch up.
    if (this.#role === 'server' && !this.#ended && this.#stream.writableLength > BACKLOG_BYTES_MAX) {
      this.#stream.pause()
    }
  }
}

/** Of the bug itself where it was wrapped. */
function stackOf(error: MooncakeError): string | undefined {
  return error.cause instanceof Error ? error.cause.stack : error.stack
}
