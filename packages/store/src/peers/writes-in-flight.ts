/**
 * Puts that are under way on this node, by key: a second put of the same key waits for the first instead of
 * moving the bytes again.
 */
export class WritesInFlight {
  readonly #writes = new Map<string, Promise<unknown>>()

  /** Settles when no earlier write of this key runs. At once, without a promise, in the ordinary case. */
  earlier(key: string): Promise<unknown> | undefined {
    return this.#writes.get(key)
  }

  trackMany(keys: readonly string[], write: Promise<unknown>): void {
    for (const key of keys) this.#writes.set(key, write)
    const forget = (): void => {
      for (const key of keys) if (this.#writes.get(key) === write) this.#writes.delete(key)
    }
    write.then(forget, forget)
  }
}
