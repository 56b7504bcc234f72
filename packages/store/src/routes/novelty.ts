import type { Clock } from '@mooncake-ts/core'

/** How long after an existing key puts ask first. */
const CAUTION_MS = 1000

/**
 * Whether keys that are put just now are new. A put without a route moves its bytes before the directory can
 * say that the key exists: with large objects that pays only where it is rare.
 */
export class Novelty {
  readonly #clock: Clock
  #untilMs = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A put has met a key that exists. */
  met(): void {
    this.#untilMs = this.#clock.nowMs() + CAUTION_MS
  }

  get likely(): boolean {
    return this.#clock.nowMs() >= this.#untilMs
  }
}
