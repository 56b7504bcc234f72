import type { Subscriber } from 'rxjs'
import type { Completion } from '../contracts/transfer.js'
import type { TransferOp } from '../contracts/transport.js'
import { Parts } from './parts.js'

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

/** One operation of a batch. */
export class BatchOperation extends Parts {
  readonly batch: Batch
  readonly index: number
  readonly op: TransferOp
  readonly #onRest: (error: Error | undefined) => void

  /** @param onRest called once, when nothing touches its memory any more, before the batch hears of it */
  constructor(
    batch: Batch,
    index: number,
    op: TransferOp,
    onRest: (error: Error | undefined) => void = noop,
  ) {
    super()
    this.batch = batch
    this.index = index
    this.op = op
    this.#onRest = onRest
  }

  protected override ended(error: Error | undefined, takenBack: boolean): void {
    this.#onRest(error)
    if (takenBack) this.batch.countDown()
    else this.batch.complete(this.index, error == null ? this.op.local.byteLength : 0, error)
  }
}

function noop(): void {}
