import type { Clock } from '@mooncake-ts/core'

/** Generations that one clock tick (1 ms) has room for; wall time times this stays a safe integer until the year 2255. */
const PER_MS = 1000

/**
 * A hybrid logical clock: generations grow with wall time, and never fall behind one that this node has seen. So the later of two
 * writes of a key wins everywhere without asking anybody, as long as clocks agree better than the time between the writes.
 */
export class GenerationClock {
  readonly #clock: Clock
  #last = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  next(): number {
    this.#last = Math.max(this.#last + 1, Math.floor(this.#clock.wallMs()) * PER_MS)
    return this.#last
  }

  /** A generation of another node. */
  observe(generation: number): void {
    if (generation > this.#last) this.#last = generation
  }
}
