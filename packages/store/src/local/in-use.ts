/** Counts what is under way, for whoever has to wait until nothing is. */
export class InUse {
  #count = 0
  #onIdle: Array<() => void> = []

  get count(): number {
    return this.#count
  }

  enter(): void {
    this.#count++
  }

  leave(): void {
    if (--this.#count === 0)
      this.#onIdle.splice(0).forEach(resolve => {
        resolve()
      })
  }

  /** Settles at once when nothing is under way. */
  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    return new Promise(resolve => this.#onIdle.push(resolve))
  }
}
