import type { Subscriber } from 'rxjs'
import type { Completion } from '../contracts/transfer.js'
import type { TransferOp } from '../contracts/transport.js'
import { MooncakeError } from '../errors/error.js'

/** A batch in flight: counts down to its end. */
export class Batch {
  readonly signal: AbortSignal
  /** Operations that are not at rest. */
  #remaining: number
  #failure: { readonly reason: unknown } | undefined
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

  /** It ends with this, at rest, whatever its operations say. */
  fail(reason: unknown): void {
    this.#failure ??= { reason }
  }

  /** One operation fewer; without a completion where it was taken back before it was posted. */
  countDown(): void {
    this.#remaining--
    if (this.#remaining > 0) return
    this.#onEnd()
    if (this.#failure != null) this.#subscriber.error(this.#failure.reason)
    else if (this.signal.aborted) this.#subscriber.error(this.signal.reason)
    else this.#subscriber.complete()
  }
}

/** One operation of a batch. It may go in parts, and ends when the last of them does. */
export class BatchOperation {
  readonly batch: Batch
  readonly index: number
  readonly op: TransferOp
  readonly #onRest: (error: Error | undefined) => void
  #partsLeft = 1
  #error: Error | undefined
  #takenBack = false

  /** @param onRest called once, when nothing touches its memory any more, before the batch hears of it */
  constructor(
    batch: Batch,
    index: number,
    op: TransferOp,
    onRest: (error: Error | undefined) => void = noop,
  ) {
    this.batch = batch
    this.index = index
    this.op = op
    this.#onRest = onRest
  }

  /** From now on it ends with the last of `count` parts. */
  split(count: number): void {
    this.#partsLeft = count
  }

  /** Nothing touches the part any more. The first error stands for the operation. */
  settle(error?: Error): void {
    this.#error ??= error
    this.#countDown()
  }

  /** The part was taken back before it was whole. */
  takeBack(): void {
    this.#takenBack = true
    this.#countDown()
  }

  /** @throws ERR_INTERNAL where a part ends twice: the batch would end while others of it are in flight */
  #countDown(): void {
    if (this.#partsLeft === 0) {
      throw new MooncakeError('ERR_INTERNAL', `Operation ${this.index} of a batch has ended already`)
    }
    this.#partsLeft--
    if (this.#partsLeft > 0) return
    this.#onRest(this.#error)
    if (this.#error != null) this.batch.complete(this.index, 0, this.#error)
    else if (this.#takenBack) this.batch.countDown()
    else this.batch.complete(this.index, this.op.local.byteLength)
  }
}

function noop(): void {}
