import { Observable } from 'rxjs'
import type { CompletionStream } from '../contracts/transfer.js'
import { asMooncakeError } from '../errors/error.js'

export interface RunBatchOptions {
  readonly signal: AbortSignal
  /** Operations at a time. */
  readonly concurrencyMax: number
}

/**
 * A stream of completions over one asynchronous function per operation: for tiers and transports that have no batch interface
 * of their own. On abort no new operation starts, and the stream ends, with the signal's reason, when the last running one has.
 */
export function runBatch<Op>(
  batch: readonly Op[],
  options: RunBatchOptions,
  run: (op: Op, signal: AbortSignal) => Promise<number>,
): CompletionStream {
  const { signal, concurrencyMax } = options
  return new Observable(subscriber => {
    let next = 0
    let running = 0
    const pump = (): void => {
      while (running < concurrencyMax && next < batch.length && !signal.aborted) start(next++)
      if (running > 0) return
      if (signal.aborted && next < batch.length) subscriber.error(signal.reason)
      else subscriber.complete()
    }
    const start = (index: number): void => {
      running++
      run(batch[index]!, signal)
        .then(
          bytes => ({ index, bytes }),
          (error: unknown) => ({ index, bytes: 0, error: asMooncakeError(error, 'ERR_IO') }),
        )
        .then(completion => {
          running--
          subscriber.next(completion)
          pump()
        })
    }
    pump()
  })
}
