import { MooncakeError, type Completion, type RemoteSlice, type TransferOp } from '@mooncake-ts/core'
import type { Subscriber } from 'rxjs'
import { assertWithin } from './exposures.js'
import { KEY_BYTES } from './grant-table.js'

/** A batch in flight: counts down to its end. */
export class Job {
  readonly signal: AbortSignal
  /** Operations that are not at rest. */
  #remaining: number
  readonly #subscriber: Subscriber<Completion>
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

  /** One operation fewer; without a completion where it was taken back before it was posted. */
  countDown(): void {
    this.#remaining--
    if (this.#remaining > 0) return
    this.#onEnd()
    if (this.signal.aborted) this.#subscriber.error(this.signal.reason)
    else this.#subscriber.complete()
  }
}

/** One operation of a batch. It may go in parts, and ends when the last of them does. */
export class Operation {
  #partsLeft = 1
  #error: Error | undefined
  #takenBack = false

  constructor(
    readonly job: Job,
    readonly index: number,
    readonly op: TransferOp,
    /** Told once, at the end. */
    readonly onEnd: (error: Error | undefined) => void,
  ) {}

  /** From now on it ends with the last of `count` parts. */
  split(count: number): void {
    this.#partsLeft = count
  }

  /** Nothing touches the part any more. The first error stands for the operation. */
  settle(error?: Error): void {
    this.#error ??= error
    this.#countDown()
  }

  /** The part was never posted, and will not be. */
  takeBack(): void {
    this.#takenBack = true
    this.#countDown()
  }

  #countDown(): void {
    this.#partsLeft--
    if (this.#partsLeft > 0) return
    this.onEnd(this.#error)
    if (this.#error != null) this.job.complete(this.index, 0, this.#error)
    else if (this.#takenBack) this.job.countDown()
    else this.job.complete(this.index, this.op.local.byteLength)
  }
}

/** @throws ERR_INVALID_PARAMS, ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED, ERR_ACCESS_DENIED */
export function assertValid({ kind, local, remote }: TransferOp): void {
  if (local.region.closed) throw new MooncakeError('ERR_REGION_CLOSED')
  assertWithin(local.region, local.offset, local.byteLength)
  if (kind === 'read' && local.region.readOnly === true) {
    throw new MooncakeError('ERR_ACCESS_DENIED', 'The local slice lies in memory that is for reading only')
  }
  if (remote.byteLength !== local.byteLength) {
    const message = `local slice of ${local.byteLength} bytes, remote slice of ${remote.byteLength}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  assertOurs(remote)
}

/** @throws ERR_INVALID_PARAMS, ERR_ACCESS_DENIED */
export function assertOurs({ window, offset }: RemoteSlice): void {
  const { scheme, key } = window
  if (scheme !== 'shm' || key.byteLength !== KEY_BYTES) {
    const message = `A window of ${scheme} with a key of ${key.byteLength} bytes is not ours`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new MooncakeError('ERR_ACCESS_DENIED', `Offset ${offset} is not inside the window`)
  }
}
