import { getSystemErrorName } from 'node:util'
import { MIB, MooncakeError } from '@mooncake-ts/core'
import { native, READABLE, WRITABLE, type NativeWatcher } from './native.js'

/** The largest message that either end sends. */
export const MESSAGE_BYTES_MAX = 32_768

/** What a peer that reads nothing may make us keep. */
const QUEUED_BYTES_MAX = 16 * MIB
/** Then other handles have their turn. */
const MESSAGES_PER_TURN = 64

/** Something with a file descriptor for as long as it is open; −1 afterwards. */
export interface Described {
  readonly fd: number
}

/** Owns the descriptors that come with the message only where it says so. */
export type OnMessage = (message: Buffer, descriptors: readonly number[]) => void

const received = Buffer.allocUnsafeSlow(MESSAGE_BYTES_MAX)

/**
 * One connection: messages that keep their bounds, some with a file descriptor. Everything on the event loop.
 */
export class Channel {
  readonly #fd: number
  readonly #watcher: NativeWatcher
  readonly #queue: Array<{ readonly message: Uint8Array; readonly described: Described | undefined }> = []
  #queuedBytes = 0
  #closed = false
  #settle!: (reason: MooncakeError) => void
  /** Settles, with the reason, when the connection is gone. Never rejects. */
  readonly closed: Promise<MooncakeError>
  /** The buffer is used again after the call. Descriptors are closed after the call. */
  onMessage: OnMessage = () => {}

  /** Owns `fd` from then on. */
  constructor(fd: number) {
    this.#fd = fd
    this.closed = new Promise(settle => {
      this.#settle = settle
    })
    this.#watcher = new (native().Watcher)(fd, events => {
      this.#ready(events)
    })
    this.#watcher.watch(READABLE)
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** `described` is asked for its descriptor when the message leaves; a closed one sends none. */
  send(message: Uint8Array, described?: Described): void {
    if (this.#closed) return
    if (this.#queue.length === 0 && this.#sendNow(message, described)) return
    this.#queue.push({ message, described })
    this.#queuedBytes += message.byteLength
    if (this.#queuedBytes > QUEUED_BYTES_MAX) {
      this.close(new MooncakeError('ERR_TRANSFER_FAIL', 'The peer reads none of its messages'))
    } else this.#watcher.watch(READABLE | WRITABLE)
  }

  /** Idempotent. `onMessage` is not called any more. */
  close(reason: MooncakeError): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue.length = 0
    this.#watcher.close()
    this.#settle(reason)
  }

  #ready(events: number): void {
    if ((events & WRITABLE) !== 0) this.#flush()
    if ((events & READABLE) === 0) return
    for (let count = 0; count < MESSAGES_PER_TURN && !this.#closed; count++) if (!this.#receive()) return
  }

  /** False when there is nothing more. */
  #receive(): boolean {
    const descriptors: number[] = []
    const byteLength = native().receive(this.#fd, received, descriptors)
    if (byteLength < 0) {
      const name = getSystemErrorName(byteLength)
      if (name === 'EAGAIN') return false
      this.#fail(name)
      return false
    }
    try {
      if (byteLength > 0) this.onMessage(received.subarray(0, byteLength), descriptors)
      else this.close(new MooncakeError('ERR_TRANSFER_FAIL', 'The peer has gone'))
    } catch (cause) {
      const message = `The peer sent what makes no sense: ${(cause as Error).message}`
      this.close(new MooncakeError('ERR_PROTOCOL', message, { cause }))
    } finally {
      for (const descriptor of descriptors) native().close(descriptor)
    }
    return !this.#closed
  }

  #flush(): void {
    while (this.#queue.length > 0) {
      const { message, described } = this.#queue[0]!
      if (!this.#sendNow(message, described)) return
      this.#queue.shift()
      this.#queuedBytes -= message.byteLength
    }
    if (!this.#closed) this.#watcher.watch(READABLE)
  }

  /** False while the peer has too much to read. */
  #sendNow(message: Uint8Array, described: Described | undefined): boolean {
    const result = native().send(this.#fd, message, described?.fd ?? -1)
    if (result === 0) return true
    const name = getSystemErrorName(result)
    if (name === 'EAGAIN') return false
    this.#fail(name)
    return true
  }

  #fail(name: string): void {
    this.close(new MooncakeError('ERR_TRANSFER_FAIL', `The connection to the peer broke: ${name}`))
  }
}
