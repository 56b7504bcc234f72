import { MooncakeError, type Completion, type TransferOp } from '@mooncake-ts/core'
import type { Subscriber } from 'rxjs'
import { KEY_BYTES, KIND_READ, KIND_WRITE, type Kind } from './codec.js'
import { assertWithin } from './exposures.js'
import type { Slot } from './slots.js'

/** A contiguous part of an operation that rides in one frame: all of a small one, a stripe of a large one. */
export interface Piece {
  readonly operation: Operation
  readonly kind: Kind
  readonly localOffset: number
  readonly remoteOffset: number
  /** From here to the end of the operation. */
  readonly operationBytes: number
  readonly byteLength: number
  /** Set while it is on the wire. */
  slot: Slot | undefined
}

/** A batch in flight: counts down to its end. */
export class Job {
  /** Operations that are not at rest. */
  #remaining: number
  readonly #subscriber: Subscriber<Completion>
  readonly #signal: AbortSignal
  readonly #onEnd: () => void

  constructor(opCount: number, subscriber: Subscriber<Completion>, signal: AbortSignal, onEnd: () => void) {
    this.#remaining = opCount
    this.#subscriber = subscriber
    this.#signal = signal
    this.#onEnd = onEnd
  }

  complete(index: number, bytes: number, error?: Error): void {
    this.#subscriber.next(error == null ? { index, bytes } : { index, bytes: 0, error })
    this.countDown()
  }

  /** One operation fewer; without a completion where it was taken back before it was posted. */
  countDown(): void {
    this.#remaining--
    if (this.#remaining > 0) return
    this.#onEnd()
    if (this.#signal.aborted) this.#subscriber.error(this.#signal.reason)
    else this.#subscriber.complete()
  }
}

/** One operation of a batch; it ends when its last piece does. */
export class Operation {
  readonly job: Job
  readonly index: number
  readonly op: TransferOp
  #piecesLeft: number
  #error: Error | undefined
  #takenBack = false

  constructor(job: Job, index: number, op: TransferOp, pieceCount: number) {
    this.job = job
    this.index = index
    this.op = op
    this.#piecesLeft = pieceCount
  }

  /** Nothing touches the piece any more. The first error stands for the operation. */
  settle(error?: Error): void {
    this.#error ??= error
    this.#countDown()
  }

  /** The piece was never posted, and will not be. */
  takeBack(): void {
    this.#takenBack = true
    this.#countDown()
  }

  #countDown(): void {
    this.#piecesLeft--
    if (this.#piecesLeft > 0) return
    if (this.#error != null) this.job.complete(this.index, 0, this.#error)
    else if (this.#takenBack) this.job.countDown()
    else this.job.complete(this.index, this.op.local.byteLength)
  }
}

/** @throws ERR_INVALID_PARAMS, ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED, ERR_ACCESS_DENIED */
export function assertValid({ local, remote }: TransferOp): void {
  if (local.region.closed) throw new MooncakeError('ERR_REGION_CLOSED')
  assertWithin(local.region, local.offset, local.byteLength)
  if (remote.byteLength !== local.byteLength) {
    const message = `local slice of ${local.byteLength} bytes, remote slice of ${remote.byteLength}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  const { scheme, key } = remote.window
  if (scheme !== 'tcp' || key.byteLength !== KEY_BYTES) {
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `A window of ${scheme} with a key of ${key.byteLength} bytes is not ours`,
    )
  }
  if (!Number.isSafeInteger(remote.offset) || remote.offset < 0) {
    throw new MooncakeError('ERR_ACCESS_DENIED', `Offset ${remote.offset} is not inside the window`)
  }
}

const STRIPE_ALIGN_BYTES = 4096

/** Cuts an operation beyond `stripeBytes` into stripes of about the same size, so that lanes end together. */
export function cut(job: Job, index: number, op: TransferOp, stripeBytes: number): Piece[] {
  const { byteLength, offset: localOffset } = op.local
  const count = Math.ceil(byteLength / stripeBytes)
  const even = Math.ceil(byteLength / count / STRIPE_ALIGN_BYTES) * STRIPE_ALIGN_BYTES
  const step = Math.min(even, stripeBytes)
  const operation = new Operation(job, index, op, Math.ceil(byteLength / step))
  const pieces: Piece[] = []
  for (let done = 0; done < byteLength; done += step) {
    pieces.push({
      operation,
      kind: op.kind === 'read' ? KIND_READ : KIND_WRITE,
      localOffset: localOffset + done,
      remoteOffset: op.remote.offset + done,
      operationBytes: byteLength - done,
      byteLength: Math.min(step, byteLength - done),
      slot: undefined,
    })
  }
  return pieces
}
