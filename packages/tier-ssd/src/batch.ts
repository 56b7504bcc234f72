import type { Subscriber } from 'rxjs'
import type { Completion } from '@mooncake-ts/core'
import type { Job } from './job.js'

/** What a batch does with its jobs; reads and writes differ in it. */
export interface BatchWork {
  /** The first part of a job is about to be given to the device. */
  posting(job: Job): void
  /** All parts have ended, well or with an error. Calls `batch.end`, at once or later. */
  moved(job: Job): void
}

/** The operations of one call, and what its subscriber hears of them. */
export class Batch {
  readonly signal: AbortSignal
  readonly #subscriber: Subscriber<Completion>
  readonly #work: BatchWork
  readonly #onEnd: (batch: Batch) => void
  #open: number
  #incomplete = 0

  constructor(
    subscriber: Subscriber<Completion>,
    signal: AbortSignal,
    count: number,
    work: BatchWork,
    onEnd: (batch: Batch) => void,
  ) {
    this.#subscriber = subscriber
    this.signal = signal
    this.#open = count
    this.#work = work
    this.#onEnd = onEnd
  }

  posting(job: Job): void {
    if (job.isPosted) return
    job.isPosted = true
    this.#work.posting(job)
  }

  moved(job: Job): void {
    if (job.isSkipped) this.#ended(false)
    else this.#work.moved(job)
  }

  end({ index, byteLength, error }: Job): void {
    if (error != null) {
      this.refuse(index, error)
      return
    }
    this.#subscriber.next({ index, bytes: byteLength })
    this.#ended(true)
  }

  /** For an operation that failed, also one that never became a job. */
  refuse(index: number, error: Error): void {
    this.#subscriber.next({ index, bytes: 0, error })
    this.#ended(false)
  }

  #ended(succeeded: boolean): void {
    if (!succeeded) this.#incomplete++
    if (--this.#open === 0) this.finish()
  }

  /** A batch that succeeded completes, also when it was aborted meanwhile. */
  finish(): void {
    this.#onEnd(this)
    if (this.signal.aborted && this.#incomplete > 0) this.#subscriber.error(this.signal.reason)
    else this.#subscriber.complete()
  }
}
