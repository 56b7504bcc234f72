import { errnoName, closeFd, shutdownSocket, type Ring } from '@mooncake-ts/io-uring'
import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { IoVector } from './io-vector.js'
import type { LaneIo } from './lane-io.js'

/** Small messages that wait for the socket are sent together up to this size, which stays a small, inline operation. */
const COALESCED_BYTES_MAX = 256 * 1024

/** Bytes to send, and what to do when the kernel has let go of them. */
export interface Message {
  readonly vector: IoVector
  readonly byteLength: number
  readonly done: () => void
}

/**
 * One connected socket with ordered, whole receives and sends. io_uring does not order operations on one socket, so exactly one
 * receive and one send are in flight; the queue of sends is kept here. Large ones run on a bulk thread, the others inline.
 *
 * Callbacks stop when the socket is destroyed; `rest` settles when the kernel touches no memory of it any more.
 */
export class LaneSocket {
  readonly fd: number
  /** Memory for headers, known to the engine under `headSlot`. */
  readonly head: Buffer
  readonly headView: DataView
  readonly headSlot: number
  /** Settles with the reason for which the socket was destroyed, when the kernel has let go of everything. Never rejects. */
  readonly rest: Promise<MooncakeError>

  readonly #io: LaneIo
  #bulk: Ring | undefined
  #reason: MooncakeError | undefined
  #atRest: (reason: MooncakeError) => void = () => {}
  #receiving = false
  #sending = false
  readonly #queue: Message[] = []

  /** Takes the descriptor over. */
  constructor(io: LaneIo, fd: number, headBytes: number) {
    this.#io = io
    this.fd = fd
    this.head = Buffer.allocUnsafeSlow(headBytes)
    this.headView = new DataView(this.head.buffer, this.head.byteOffset, headBytes)
    this.headSlot = io.engine.attach(this.head)
    this.rest = new Promise(resolve => {
      this.#atRest = resolve
    })
  }

  get destroyed(): boolean {
    return this.#reason != null
  }

  /** Fills the vector, whole. One at a time. */
  receive(vector: IoVector, done: () => void): void {
    if (this.#reason != null) return
    if (vector.remainingBytes === 0) {
      done()
      return
    }
    const settle = (result: number): void => {
      this.#receiving = false
      if (this.#reason != null) this.#settleIfAtRest()
      else if (result <= 0) this.destroy(connectionEnded('receive', result))
      else {
        vector.advance(result)
        this.receive(vector, done)
      }
    }
    this.#receiving = this.#posted(() => {
      this.#ringFor(vector.remainingBytes).recv(this.fd, vector.next(), settle, { waitAll: true })
    })
  }

  /** Queues a message behind those that were given before. */
  send(message: Message): void {
    if (this.#reason != null) return
    this.#queue.push(message)
    if (!this.#sending) this.#sendNext()
  }

  /** Ends both directions and forgets queued messages; `rest` tells when the kernel has let go. Idempotent: the first reason stays. */
  destroy(reason: MooncakeError): void {
    if (this.#reason != null) return
    this.#reason = reason
    this.#queue.length = 0
    // Closing would not end operations in flight, and the number could be reused under them.
    shutdownSocket(this.fd)
    this.#settleIfAtRest()
  }

  #sendNext(): void {
    const first = this.#queue.shift()
    if (first == null) return
    const batch = [first]
    let byteLength = first.byteLength
    while (this.#queue.length > 0 && byteLength + this.#queue[0]!.byteLength <= COALESCED_BYTES_MAX) {
      const message = this.#queue.shift()!
      first.vector.append(message.vector)
      byteLength += message.byteLength
      batch.push(message)
    }
    this.#sendRest(first.vector, batch)
  }

  #sendRest(vector: IoVector, batch: readonly Message[]): void {
    const settle = (result: number): void => {
      if (this.#reason == null && result > 0) {
        vector.advance(result)
        if (vector.remainingBytes > 0) {
          this.#sendRest(vector, batch)
          return
        }
      }
      this.#sending = false
      if (this.#reason != null) this.#settleIfAtRest()
      else if (result <= 0) this.destroy(connectionEnded('send', result))
      else {
        for (const message of batch) message.done()
        if (!this.#sending) this.#sendNext()
      }
    }
    this.#sending = this.#posted(() => {
      this.#ringFor(vector.remainingBytes).send(this.fd, vector.next(), settle)
    })
  }

  /** Whether the ring took the operation; a refusal (it is full, or closed) ends the socket. */
  #posted(post: () => void): boolean {
    try {
      post()
      return true
    } catch (error) {
      queueMicrotask(() => {
        this.destroy(asMooncakeError(error))
      })
      return false
    }
  }

  #ringFor(byteLength: number): Ring {
    if (!this.#io.isBulk(byteLength)) return this.#io.engine.inline
    this.#bulk ??= this.#io.nextBulkRing()
    return this.#bulk
  }

  #settleIfAtRest(): void {
    if (this.#receiving || this.#sending) return
    this.#io.engine.detach(this.headSlot)
    closeFd(this.fd)
    this.#atRest(this.#reason!)
  }
}

function connectionEnded(during: 'receive' | 'send', result: number): MooncakeError {
  const what =
    result === 0
      ? 'The peer closed the connection'
      : `The connection failed: ${errnoName(result)} on ${during}`
  return new MooncakeError('ERR_TRANSFER_FAIL', what)
}
