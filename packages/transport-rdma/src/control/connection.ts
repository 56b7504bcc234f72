import type { Socket } from 'node:net'
import { MooncakeError, asMooncakeError } from '@mooncake-ts/core'

/** A message of the control protocol: plain data, checked by whoever takes it. */
export type Message = Readonly<Record<string, unknown>>

/** The largest frame: the descriptions of 17 queue pairs are far below. */
const FRAME_BYTES_MAX = 16 * 1024
/** What a peer that does not read may keep in our memory. */
const UNSENT_BYTES_MAX = 1024 * 1024
/** Messages that came before anybody asked for them. */
const UNREAD_MAX = 16
/** A host that vanished is noticed after about this and a few probes. */
const KEEP_ALIVE_MS = 10_000

/**
 * Small messages over TCP between two transports: a length as 32 bits, little-endian, and JSON. Control is rare, so
 * it may be readable. Its end is also how each end learns that the other process has died.
 */
export class ControlConnection {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  readonly #messages: Message[] = []
  #deliver: ((message: Message) => void) | undefined
  #reason: MooncakeError | undefined
  #ended: (reason: MooncakeError) => void = () => {}
  /** Settles with the reason of its end. */
  readonly ended: Promise<MooncakeError>

  constructor(socket: Socket) {
    this.#socket = socket
    this.ended = new Promise(resolve => {
      this.#ended = resolve
    })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('data', chunk => {
      this.#onData(chunk)
    })
    socket.on('error', error => {
      this.#reason ??= asTransferFail(error)
    })
    socket.on('close', () => {
      this.#reason ??= new MooncakeError('ERR_TRANSFER_FAIL', 'The peer ended the connection')
      this.#ended(this.#reason)
    })
  }

  get open(): boolean {
    return this.#reason == null
  }

  /** Address of the peer, for logs. */
  get peer(): string {
    return `${this.#socket.remoteAddress ?? '?'}:${this.#socket.remotePort ?? 0}`
  }

  send(message: Message): void {
    if (!this.open) return
    const body = Buffer.from(JSON.stringify(message))
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32LE(body.byteLength)
    this.#socket.write(Buffer.concat([head, body]))
    if (this.#socket.writableLength > UNSENT_BYTES_MAX) {
      this.destroy(new MooncakeError('ERR_TRANSFER_FAIL', 'The peer does not read its control connection'))
    }
  }

  /** The next message; for the handshake, before `onMessage`. Rejects with the reason of the end. */
  next(): Promise<Message> {
    const waiting = this.#messages.shift()
    if (waiting != null) return Promise.resolve(waiting)
    return new Promise((resolve, reject) => {
      void this.ended.then(reject)
      this.#deliver = message => {
        this.#deliver = undefined
        resolve(message)
      }
    })
  }

  /** Everything from here on. A listener that throws ends the connection. */
  onMessage(listener: (message: Message) => void): void {
    this.#deliver = listener
    for (const message of this.#messages.splice(0)) this.#hand(message)
  }

  /** What was sent before still goes out, unless the peer does not take it. */
  destroy(reason: MooncakeError): void {
    if (!this.open) return
    this.#reason = reason
    if (this.#socket.writableLength === 0) this.#socket.destroySoon()
    else this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.byteLength === 0 ? chunk : Buffer.concat([this.#received, chunk])
    while (this.open && this.#received.byteLength >= 4) {
      const byteLength = this.#received.readUInt32LE(0)
      if (byteLength > FRAME_BYTES_MAX) {
        this.destroy(new MooncakeError('ERR_PROTOCOL', `The peer sent a frame of ${byteLength} bytes`))
        return
      }
      if (this.#received.byteLength < 4 + byteLength) return
      const body = this.#received.subarray(4, 4 + byteLength)
      this.#received = this.#received.subarray(4 + byteLength)
      this.#parse(body)
    }
  }

  #parse(body: Buffer): void {
    let message: unknown
    try {
      message = JSON.parse(body.toString('utf8'))
    } catch {
      message = undefined
    }
    if (typeof message !== 'object' || message == null || Array.isArray(message)) {
      this.destroy(new MooncakeError('ERR_PROTOCOL', 'The peer sent something that is no message'))
      return
    }
    this.#hand(message as Message)
  }

  #hand(message: Message): void {
    if (this.#deliver == null) {
      this.#messages.push(message)
      if (this.#messages.length <= UNREAD_MAX) return
      this.destroy(new MooncakeError('ERR_PROTOCOL', 'The peer talks without listening'))
      return
    }
    try {
      this.#deliver(message)
    } catch (error) {
      this.destroy(asMooncakeError(error, 'ERR_PROTOCOL'))
    }
  }
}

function asTransferFail(cause: Error): MooncakeError {
  return new MooncakeError('ERR_TRANSFER_FAIL', `The control connection ended: ${cause.message}`, { cause })
}
