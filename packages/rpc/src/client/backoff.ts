import type { Clock } from '@mooncake-ts/core'

/**
 * When to try again: the pause doubles with each failure, and half of it is random so that peers do not
 * return in step.
 */
export class Backoff {
  readonly #clock: Clock
  readonly #minMs: number
  readonly #maxMs: number
  #pauseMs = 0
  #notBeforeMs = -Infinity

  constructor(clock: Clock, minMs: number, maxMs: number) {
    this.#clock = clock
    this.#minMs = minMs
    this.#maxMs = maxMs
  }

  /** What is left of the pause; 0 where there is none. */
  get remainingMs(): number {
    return Math.max(0, this.#notBeforeMs - this.#clock.nowMs())
  }

  failed(): void {
    this.#pauseMs = Math.min(this.#maxMs, Math.max(this.#minMs, this.#pauseMs * 2))
    this.#notBeforeMs = this.#clock.nowMs() + this.#pauseMs * (0.5 + Math.random() / 2)
  }

  succeeded(): void {
    this.#pauseMs = 0
    this.#notBeforeMs = -Infinity
  }
}
