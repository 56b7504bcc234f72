import type { Clock } from '@mooncake-ts/core'

const SLICE_MS = 10
/** To look at the clock takes longer than many a step. */
const STEPS_PER_LOOK = 32

/** For long loops, in which other work of the event loop gets its turn. */
export class TimeSlice {
  readonly #clock: Clock
  #steps = 0
  #endMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#endMs = clock.nowMs() + SLICE_MS
  }

  /** Asked after each step: whether `nextTurn` is due. */
  get isOver(): boolean {
    return ++this.#steps % STEPS_PER_LOOK === 0 && this.#clock.nowMs() >= this.#endMs
  }

  async nextTurn(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    this.#endMs = this.#clock.nowMs() + SLICE_MS
  }
}
