import type { Socket } from 'node:net'
import { asMooncakeError, hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Surroundings } from '../surroundings.js'
import { encodeFrame, type Attached } from './codec.js'
import { FrameKind, FrameReader, type Frame } from './frame.js'
import { Handshake, type Session } from './handshake.js'
import { failureOf } from './messages.js'

/** Of a peer that has not proven itself. A HELLO has about 150. */
const HELLO_BYTES_MAX = 4096

/** Answers that wait for a slow reader; beyond, its requests are not read until it has caught up. */
const BACKLOG_BYTES_MAX = 2 ** 20

/** How long a link that fails reads on, so that its GOODBYE is not lost in a reset. */
const LINGER_MS = 1000

export interface LinkHandler {
  /** Both ends are sure of each other. */
  onOpen(session: Session): void
  /** What it throws closes the link. */
  onFrame(frame: Frame): void
  /** Last call, exactly one, also for a link that never opened. No error: one of the ends wanted it so. */
  onClose(error: MooncakeError | undefined): void
}

/**
 * One connected socket that speaks frames: handshake first, writes of one tick in one packet, an end with a
 * reason.
 */
export class Link {
  /** Address of the peer, for logs. */
  readonly peer: string
  /** Settles when the socket is gone. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #role: 'client' | 'server'
  readonly #around: Surroundings
  readonly #handler: LinkHandler
  readonly #handshake: Handshake
  readonly #reader: FrameReader
  #timer: Disposable
  #session: Session | undefined
  #ended = false
  #corked = false
  /** What the socket has not taken yet. */
  readonly #sending = new Set<Attached>()

  constructor(
    socket: Socket,
    role: 'client' | 'server',
    peer: string,
    around: Surroundings,
    handler: LinkHandler,
  ) {
    const { settings, security, clock } = around
    this.peer = peer
    this.#socket = socket
    this.#role = role
    this.#around = around
    this.#handler = handler
    this.#reader = new FrameReader(HELLO_BYTES_MAX, { borrowed: role === 'client' })
    this.#handshake = new Handshake(role, security, settings.frameBytesMax)
    this.#timer = clock.after(settings.handshakeTimeoutMs, () => {
      const message = `No authentication within ${settings.handshakeTimeoutMs} ms`
      this.#fail(new MooncakeError('ERR_RPC_TIMEOUT', message))
    })
    this.closed = new Promise(resolve => socket.once('close', resolve))
    this.#listen()
    if (role === 'client') this.send(this.#handshake.hello())
  }

  /** Bytes that the socket has not taken yet. */
  get outgoingBytes(): number {
    return this.#socket.writableLength
  }

  /** The largest body that the peer takes; 0 before it said so. */
  get peerFrameBytesMax(): number {
    return this.#session?.frameBytesMax ?? 0
  }

  /** Whatever the peer says, and be it a part of a long message. */
  get receivedBytes(): number {
    return this.#socket.bytesRead
  }

  send(frame: Buffer, attached?: Attached): void {
    if (this.#ended) {
      attached?.onSent()
      return
    }
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      process.nextTick(() => {
        this.#uncork()
      })
    }
    this.#socket.write(frame)
    if (attached == null) return
    this.#sending.add(attached)
    this.#socket.write(attached.bytes, () => {
      this.#sent(attached)
    })
  }

  /** Sends what is queued, for at most `drainMs`, then ends the connection. */
  close(): void {
    this.#end(undefined, this.#around.settings.drainMs)
    this.#socket.end()
  }

  /** What the socket got. A client is told by whoever made its socket, and does not keep the bytes. */
  receive(chunk: Buffer): void {
    if (this.#ended) return // Read only to be thrown away.
    try {
      this.#reader.push(chunk, frame => {
        if (this.#session == null) this.#shakeHands(frame)
        else this.#handler.onFrame(frame)
        return !this.#ended
      })
    } catch (error) {
      this.#fail(asMooncakeError(error))
    }
  }

  #listen(): void {
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, this.#around.settings.keepAliveMs)
    if (this.#role === 'server') {
      this.#socket.on('data', chunk => {
        this.receive(chunk)
      })
    }
    this.#socket.on('drain', () => this.#socket.resume())
    this.#socket.on('end', () => {
      this.#receiveEnd()
    })
    this.#socket.on('error', cause => {
      this.#end(
        new MooncakeError('ERR_RPC_FAIL', `Connection to ${this.peer} lost: ${cause.message}`, { cause }),
      )
    })
    this.#socket.on('close', () => {
      this.#end(undefined)
      this.#timer[Symbol.dispose]()
      for (const attached of this.#sending) this.#sent(attached)
    })
  }

  #shakeHands(frame: Frame): void {
    const { reply, session } = this.#handshake.receive(frame)
    if (reply != null) this.send(reply)
    if (session == null) return
    this.#timer[Symbol.dispose]()
    this.#session = session
    this.#reader.frameBytesMax = this.#around.settings.frameBytesMax
    this.#handler.onOpen(session)
  }

  #receiveEnd(): void {
    if (this.#reader.pending && !this.#ended) {
      this.#fail(new MooncakeError('ERR_PROTOCOL', 'The connection ended in the middle of a frame'))
    }
    this.#end(undefined)
    this.#socket.destroySoon()
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
    this.#socket.end()
  }

  #end(error: MooncakeError | undefined, lingerMs = LINGER_MS): void {
    if (this.#ended) return
    this.#ended = true
    this.#timer[Symbol.dispose]()
    this.#socket.resume()
    this.#timer = this.#around.clock.after(lingerMs, () => this.#socket.destroy())
    this.#handler.onClose(error)
    this.#reader.fail(
      new MooncakeError('ERR_RPC_FAIL', `The connection to ${this.peer} ended`, { cause: error }),
    )
  }

  #sent(attached: Attached): void {
    if (this.#sending.delete(attached)) attached.onSent()
  }

  #uncork(): void {
    this.#corked = false
    this.#socket.uncork()
    // Only requests are held back: a client that stopped reading answers could never catch up.
    if (this.#role === 'server' && !this.#ended && this.#socket.writableLength > BACKLOG_BYTES_MAX) {
      this.#socket.pause()
    }
  }
}

/** Of the bug itself where it was wrapped. */
function stackOf(error: MooncakeError): string | undefined {
  return error.cause instanceof Error ? error.cause.stack : error.stack
}
