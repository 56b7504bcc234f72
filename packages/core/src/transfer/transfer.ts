import { defer, ReplaySubject, type Observable } from 'rxjs'
import { followSignal } from './follow-signal.js'
import type { Completion, CompletionStream, TransferSummary } from '../contracts/transfer.js'

/**
 * A batch in flight: posted at once and once, watched by any number. It has two faces, a stream and a future,
 * and is not a thenable, because the first async function that returned it would swallow it.
 *
 * `completions$` replays, so a late watcher misses nothing; a batch bounds what is kept. Unsubscribing only
 * stops watching.
 */
export class Transfer implements AsyncDisposable {
  readonly #completions = new ReplaySubject<Completion>()
  readonly #controller = new AbortController()
  /**
   * One for each operation, in any order. Errors only where the batch as a whole could not be, or was
   * cancelled: give `subscribe` an `error` handler too, because rxjs throws an error that a subscriber does
   * not handle as an uncaught exception.
   */
  readonly completions$: Observable<Completion> = this.#completions.asObservable()
  /** Settles when the batch is at rest, also after an abort: nothing touches its slices any more (I3). */
  readonly done: Promise<TransferSummary>

  /** @param post is subscribed to exactly once, unless the signal has aborted before */
  constructor(
    post: (signal: AbortSignal) => CompletionStream,
    options: { readonly signal?: AbortSignal } = {},
  ) {
    const { signal } = this.#controller
    const following = options.signal == null ? undefined : followSignal(this.#controller, options.signal)
    let completed = 0
    let failed = 0
    let bytes = 0
    this.done = new Promise((resolve, reject) => {
      this.#completions.subscribe({
        next: completion => {
          if (completion.error == null) {
            completed++
            bytes += completion.bytes
          } else failed++
        },
        error: reject,
        complete: () => {
          resolve({ completed, failed, bytes })
        },
      })
    })
    // Also handles the rejection: whoever watches completions$ alone has seen the error there.
    const unfollow = (): void => following?.[Symbol.dispose]()
    this.done.then(unfollow, unfollow)
    defer(() => {
      signal.throwIfAborted()
      return post(signal)
    }).subscribe(this.#completions)
  }

  /** Asks the devices to stop. `done` still settles only at rest. */
  cancel(reason: unknown = new DOMException('The transfer was cancelled', 'AbortError')): void {
    this.#controller.abort(reason)
  }

  /** Cancels what is left and waits for rest. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel()
    await this.done.catch(() => {})
  }
}
