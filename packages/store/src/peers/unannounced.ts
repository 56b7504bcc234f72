import { whenAborted } from '../local/when-aborted.js'

/**
 * Puts that are committed here and that the directory has not answered yet. It may have another value of the
 * key, which came first; so until then nobody is given this one (I5), and nobody is told that it exists.
 */
export class Unannounced {
  readonly #answers = new Map<string, Promise<void>>()

  has(key: string): boolean {
    return this.#answers.size > 0 && this.#answers.has(key)
  }

  /** @param answer does not reject */
  track(keys: readonly string[], answer: Promise<void>): void {
    for (const key of keys) this.#answers.set(key, answer)
    void answer.then(() => {
      for (const key of keys) if (this.#answers.get(key) === answer) this.#answers.delete(key)
    })
  }

  /**
   * Does this when the directory has answered for all of these, in the same step as the last look: a put that is
   * committed in between would be seen. At once, without a promise, in the ordinary case. Rejects with the
   * signal's reason.
   */
  whenAnswered<T>(
    items: ReadonlyArray<{ readonly key: string }>,
    act: () => T | Promise<T>,
    signal?: AbortSignal,
  ): T | Promise<T> {
    const answered = this.answered(items, signal)
    // Of a key whose put was refused there may be another one by now.
    return answered == null ? act() : answered.then(() => this.whenAnswered(items, act, signal))
  }

  /**
   * Settles when the directory has answered for all of these. Undefined, without a promise, in the ordinary
   * case. Rejects with the signal's reason.
   */
  answered(items: Iterable<{ readonly key: string }>, signal?: AbortSignal): Promise<void> | undefined {
    if (this.#answers.size === 0) return undefined
    const waits = new Set<Promise<void>>() // Those of one batch have one answer.
    for (const { key } of items) {
      const answer = this.#answers.get(key)
      if (answer != null) waits.add(answer)
    }
    return waits.size === 0 ? undefined : until(Promise.all(waits), signal)
  }
}

function until(all: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const unwatch = signal == null ? () => {} : whenAborted(signal, () => reject(signal.reason as Error))
    void all.then(() => {
      unwatch()
      resolve()
    })
  })
}
