import { Observable } from 'rxjs'
import type { Completion, CompletionStream } from '../contracts/transfer.js'
import { asMooncakeError } from '../errors/error.js'

export interface RunBatchOptions {
  readonly signal: AbortSignal
  /** Operations at a time. */
  readonly concurrencyMax: number
}

/**
 * A stream of completions over one asynchronous function per operation: for tiers and transports that have no
 * batch interface of their own. On abort no new operation starts, and the stream ends, with the signal's
 * reason, when the last running one has; a batch that succeeded all the same completes.
 *
 * @throws RangeError for a `concurrencyMax` below 1
 */
export function runBatch<Op>(
  batch: readonly Op[],
  options: RunBatchOptions,
  run: (op: Op, signal: AbortSignal) => Promise<number>,
): CompletionStream {
  const { signal, concurrencyMax } = options
  if (!(concurrencyMax >= 1)) throw new RangeError(`concurrencyMax must be at least 1, not ${concurrencyMax}`)
  const runOne = async (index: number): Promise<Completion> => {
    try {
      return { index, bytes: await run(batch[index]!, signal) }
    } catch (error) {
      return { index, bytes: 0, error: asMooncakeError(error, 'ERR_IO') }
    }
  }
  return new Observable(subscriber => {
    let next = 0
    let running = 0
    let failed = 0
    const pump = (): void => {
      while (running < concurrencyMax && next < batch.length && !signal.aborted) start(next++)
      if (running > 0) return
      if (signal.aborted && (failed > 0 || next < batch.length)) subscriber.error(signal.reason)
      else subscriber.complete()
    }
    const start = (index: number): void => {
      running++
      void runOne(index).then(completion => {
        running--
        if (completion.error != null) failed++
        subscriber.next(completion)
        pump()
      })
    }
    pump()
  })
}
