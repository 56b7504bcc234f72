import type { Clock } from '../contracts/clock.js'

/**
 * Generations that one millisecond has room for; wall time times this stays a safe integer until the year
 * 2109.
 */
const PER_MS = 2048

/**
 * A hybrid logical clock: generations grow with wall time, and never fall behind one that was seen. The
 * master hands them out with write routes, so that two writes never have the same. A node does so itself only
 * while the master is away; the random start within a millisecond keeps two nodes that write one key just
 * then from meeting.
 */
export class GenerationClock {
  readonly #clock: Clock
  #last = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The first of `count` generations in a row. */
  take(count: number): number {
    const now = Math.floor(this.#clock.wallMs()) * PER_MS + Math.floor(Math.random() * PER_MS)
    const first = Math.max(this.#last + 1, now)
    this.#last = first + count - 1
    return first
  }

  /** A generation of somebody else. */
  observe(generation: number): void {
    if (generation > this.#last) this.#last = generation
  }
}
