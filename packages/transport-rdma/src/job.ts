import { MooncakeError, type Completion, type TransferOp } from '@mooncake-ts/core'
import type { Subscriber } from 'rxjs'
import { assertWithin } from './exposures.js'
import { decodeKey, type WindowKey } from './key.js'

/** A batch in flight: counts down to its end. */
export class Job {
  /** Operations that are not at rest. */
  #remaining: number
  readonly #subscriber: Subscriber<Completion>
  readonly signal: AbortSignal
  readonly #onEnd: () => void

  constructor(opCount: number, subscriber: Subscriber<Completion>, signal: AbortSignal, onEnd: () => void) {
    this.#remaining = opCount
    this.#subscriber = subscriber
    this.signal = signal
    this.#onEnd = onEnd
  }

  complete(index: number, bytes: number, error?: Error): void {
    this.#subscriber.next(error == null ? { index, bytes } : { index, bytes: 0, error })
    this.countDown()
  }

  /** One operation fewer; without a completion where it was taken back. */
  countDown(): void {
    this.#remaining--
    if (this.#remaining > 0) return
    this.#onEnd()
    if (this.signal.aborted) this.#subscriber.error(this.signal.reason)
    else this.#subscriber.complete()
  }
}

/** One operation of a batch; it ends when its last piece does. */
export class Operation {
  readonly job: Job
  readonly index: number
  readonly op: TransferOp
  readonly key: WindowKey
  readonly #onRest: () => void
  #piecesLeft: number
  #error: Error | undefined
  #takenBack = false

  /** @param onRest called when nothing touches its memory any more, before the job hears of it */
  constructor(job: Job, index: number, op: TransferOp, pieceCount: number, onRest: () => void) {
    this.job = job
    this.index = index
    this.op = op
    this.key = decodeKey(op.remote.window.key)!
    this.#piecesLeft = pieceCount
    this.#onRest = onRest
  }

  /** Nothing touches the piece any more. The first error stands for the operation. */
  settle(error?: Error): void {
    this.#error ??= error
    this.#countDown()
  }

  /** The piece was taken back before it was whole. */
  takeBack(): void {
    this.#takenBack = true
    this.#countDown()
  }

  #countDown(): void {
    this.#piecesLeft--
    if (this.#piecesLeft > 0) return
    this.#onRest()
    if (this.#error != null) this.job.complete(this.index, 0, this.#error)
    else if (this.#takenBack) this.job.countDown()
    else this.job.complete(this.index, this.op.local.byteLength)
  }
}

/** A contiguous part of an operation that goes over one device. */
export interface Piece {
  readonly operation: Operation
  /** From the start of the operation. */
  readonly offset: number
  readonly byteLength: number
  /** How often it was posted. */
  attempts: number
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
  if (scheme !== 'rdma' || decodeKey(key) == null) {
    const message = `A window of ${scheme} with a key of ${key.byteLength} bytes is not ours`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  if (!Number.isSafeInteger(remote.offset) || remote.offset < 0) {
    throw new MooncakeError('ERR_ACCESS_DENIED', `Offset ${remote.offset} is not inside the window`)
  }
}

/** Cuts an operation beyond `pieceBytes`, so that several devices move it together. */
export function cut(operation: Operation, pieceBytes: number): Piece[] {
  const { byteLength } = operation.op.local
  const pieces: Piece[] = []
  for (let offset = 0; offset < byteLength; offset += pieceBytes) {
    pieces.push({ operation, offset, byteLength: Math.min(pieceBytes, byteLength - offset), attempts: 0 })
  }
  return pieces
}
