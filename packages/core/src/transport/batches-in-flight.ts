import { setMaxListeners } from 'node:events'
import { Observable, type Subscriber } from 'rxjs'
import type { Clock } from '../contracts/clock.js'
import type { Completion, CompletionStream } from '../contracts/transfer.js'
import type { TransferOp } from '../contracts/transport.js'
import { asMooncakeError, type MooncakeError } from '../errors/error.js'
import { Batch } from './batch.js'

/** How a transport carries one batch. */
export interface BatchCarrier {
  /** Takes one operation, which ends through the batch. @throws what makes it impossible, before anything is queued */
  queue(batch: Batch, index: number, op: TransferOp): void
  /** An operation whose `queue` threw; its completion follows. */
  refused?(error: MooncakeError): void
  /** All are queued: posts them. Where it throws, the batch ends with that once all are taken back or at rest. */
  post(batch: Batch): void
  /** The signal has aborted: takes back what was not posted. */
  takeBack(batch: Batch): void
  /** Posted operations have not ended within the grace after an abort: closes what carries them. */
  giveUp(batch: Batch): void
}

/** The batches that a transport has under way: each is cold, ends on abort with its reason, and at rest (I3). */
export class BatchesInFlight {
  readonly #clock: Clock
  readonly #abortGraceMs: number
  readonly #batches = new Set<Batch>()
  readonly #idle: Array<() => void> = []

  /** @param abortGraceMs how long posted operations may take to end once their signal has aborted */
  constructor(clock: Clock, abortGraceMs: number) {
    this.#clock = clock
    this.#abortGraceMs = abortGraceMs
  }

  /** Asks for a carrier when it is subscribed to, and not for a batch without operations. */
  run(ops: readonly TransferOp[], signal: AbortSignal, carrierOf: () => BatchCarrier): CompletionStream {
    return new Observable(subscriber => {
      if (signal.aborted) subscriber.error(signal.reason)
      else if (ops.length === 0) subscriber.complete()
      else this.#start(ops, signal, subscriber, carrierOf())
      // No teardown: unsubscribing only stops watching.
    })
  }

  /** Settles when none is in flight. */
  idle(): Promise<void> {
    return new Promise(resolve => {
      if (this.#batches.size === 0) resolve()
      else this.#idle.push(resolve)
    })
  }

  #start(
    ops: readonly TransferOp[],
    signal: AbortSignal,
    subscriber: Subscriber<Completion>,
    carrier: BatchCarrier,
  ): void {
    const batch = this.#begin(ops.length, signal, subscriber, carrier)
    for (let index = 0; index < ops.length; index++) {
      if (signal.aborted) {
        batch.countDown() // A completion of this very batch has aborted it.
        continue
      }
      try {
        carrier.queue(batch, index, ops[index]!)
      } catch (cause) {
        const error = asMooncakeError(cause)
        carrier.refused?.(error)
        batch.complete(index, 0, error)
      }
    }
    try {
      carrier.post(batch)
    } catch (cause) {
      batch.fail(cause)
      carrier.takeBack(batch)
      carrier.giveUp(batch)
    }
  }

  #begin(
    opCount: number,
    signal: AbortSignal,
    subscriber: Subscriber<Completion>,
    carrier: BatchCarrier,
  ): Batch {
    let grace: Disposable | undefined
    const onAbort = (): void => {
      grace = this.#clock.after(this.#abortGraceMs, () => {
        carrier.giveUp(batch)
      })
      carrier.takeBack(batch)
    }
    const batch = new Batch(opCount, subscriber, signal, () => {
      signal.removeEventListener('abort', onAbort)
      grace?.[Symbol.dispose]()
      this.#batches.delete(batch)
      if (this.#batches.size === 0) for (const settle of this.#idle.splice(0)) settle()
    })
    this.#batches.add(batch)
    // Many batches may wait on the one signal of a call: the ten listeners that Node takes for a leak say
    // nothing here.
    setMaxListeners(0, signal)
    signal.addEventListener('abort', onAbort, { once: true })
    return batch
  }
}
