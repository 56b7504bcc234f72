/** What runs now, for those who wait for rest. */
export class InFlight {
  readonly #running = new Set<Promise<unknown>>()

  track<T>(running: Promise<T>): Promise<T> {
    this.#running.add(running)
    const forget = (): void => {
      this.#running.delete(running)
    }
    running.then(forget, forget)
    return running
  }

  /** Settles when everything that runs now has ended, well or not. */
  async rest(): Promise<void> {
    await Promise.allSettled(this.#running)
  }
}
