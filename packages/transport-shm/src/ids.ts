const ID_MAX = 2 ** 32

/**
 * Numbers of what is in flight on one connection. By the time they come round again the first are long done.
 */
export class Ids {
  #last = 0

  next(): number {
    this.#last = (this.#last + 1) % ID_MAX
    return this.#last
  }
}
