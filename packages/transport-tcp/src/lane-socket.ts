import { errnoName, closeFd, shutdownSocket, type Ring } from '@mooncake-ts/io-uring'
import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { IoVector } from './io-vector.js'
import type { LaneIo } from './lane-io.js'

/**
 * Small messages that wait for the socket are sent together up to this size, which stays a small, inline
 * operation.
 */
const COALESCED_BYTES_MAX = 256 * 1024

/** Bytes to send, and what to do when the kernel has let go of them. */
export interface Message {
  readonly vector: IoVector
  readonly done: () => void
}

/**
 * One connected socket with ordered, whole receives and sends. io_uring does not order operations on one
 * socket, so exactly one receive and one send are in flight, and the queue of sends is kept here. Large ones
 * run on a bulk thread, the others inline.
 *
 * Callbacks stop when the socket is destroyed; `rest` settles when the kernel touches no memory of it any
 * more.
 */
export class LaneSocket {
  readonly fd: number
  /** Memory for headers, known to the engine under `headSlot`. */
  readonly head: Buffer
  readonly headView: DataView
  readonly headSlot: number
  /** Settles with the reason of the end when the kernel has let go of everything. Never rejects. */
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
    const { triples, byteLength } = vector
    if (byteLength === 0) {
      done()
      return
    }
    const settle = (result: number): void => {
      this.#receiving = false
      if (this.#reason != null) this.#settleIfAtRest()
      else if (result === byteLength) done()
      else this.destroy(connectionEnded('receive', result))
    }
    this.#receiving = this.#posted(() => {
      this.#ringFor(byteLength).recv(this.fd, triples, settle, { waitAll: true })
    })
  }

  /** Queues a message behind those that were given before. */
  send(message: Message): void {
    if (this.#reason != null) return
    this.#queue.push(message)
    if (!this.#sending) this.#sendNext()
  }

  /**
   * Ends both directions and forgets queued messages; `rest` tells when the kernel has let go. Idempotent:
   * the first reason stays.
   */
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
    const { vector } = first
    const batch = [first]
    for (let next = this.#queue[0]; next != null; next = this.#queue[0]) {
      if (vector.byteLength + next.vector.byteLength > COALESCED_BYTES_MAX) break
      vector.append(next.vector)
      batch.push(next)
      this.#queue.shift()
    }
    this.#sendBatch(vector, batch)
  }

  #sendBatch({ triples, byteLength }: IoVector, batch: readonly Message[]): void {
    const settle = (result: number): void => {
      this.#sending = false
      if (this.#reason != null) this.#settleIfAtRest()
      else if (result !== byteLength) this.destroy(connectionEnded('send', result))
      else {
        for (const message of batch) message.done()
        if (!this.#sending) this.#sendNext()
      }
    }
    this.#sending = this.#posted(() => {
      this.#ringFor(byteLength).send(this.fd, triples, settle)
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

/** A result that is short but not negative: the stream ended before the whole was moved. */
function connectionEnded(during: 'receive' | 'send', result: number): MooncakeError {
  const what =
    result < 0 ? `The connection failed: ${errnoName(result)} on ${during}` : 'The peer closed the connection'
  return new MooncakeError('ERR_TRANSFER_FAIL', what)
}
