import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '@mooncake-ts/core'

interface Timer {
  dueMs: number
  readonly callback: () => void
  /** Set for those that come again. */
  readonly intervalMs?: number
}

export interface VirtualClockOptions {
  /** What `wallMs` says in the beginning. @defaultValue the first of January 2026, UTC */
  readonly wallMs?: number
}

/**
 * A clock that stands still until a test moves it.
 *
 * @example
 * const clock = new VirtualClock()
 * const host = new Host([value(CLOCK, clock), …])
 * await clock.advance(10_000) // everything due within ten seconds has run
 */
export class VirtualClock implements Clock {
  readonly #wallOriginMs: number
  /** In the order in which they were set; those due at the same time run in it. */
  readonly #timers = new Set<Timer>()
  #nowMs = 0

  constructor(options: VirtualClockOptions = {}) {
    this.#wallOriginMs = options.wallMs ?? Date.UTC(2026, 0, 1)
  }

  /** Timers and sleeps that wait: 0 after everything was disposed of, which is a way to look for leaks. */
  get pending(): number {
    return this.#timers.size
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#wallOriginMs + Math.floor(this.#nowMs)
  }

  after(delayMs: number, callback: () => void): Disposable {
    return this.#set({ dueMs: this.#nowMs + Math.max(0, delayMs), callback })
  }

  /** @throws RangeError for an interval that is not above zero, which would never let `advance` end */
  every(intervalMs: number, callback: () => void): Disposable {
    if (!(intervalMs > 0)) throw new RangeError(`intervalMs must be above 0, not ${intervalMs}`)
    return this.#set({ dueMs: this.#nowMs + intervalMs, callback, intervalMs })
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        timer[Symbol.dispose]()
        reject(signal!.reason as Error)
      }
      const timer = this.after(delayMs, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
      if (signal?.aborted) abort()
      else signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /**
   * Moves the time, stopping at each timer that is due on the way, in order. Between two of them promises
   * settle and I/O gets a turn, so what a timer set in motion may set timers of its own and have them run in
   * this same call.
   * @throws RangeError for a negative duration; whatever a callback throws
   */
  async advance(durationMs: number): Promise<void> {
    if (!(durationMs >= 0)) throw new RangeError(`Time does not move by ${durationMs} ms`)
    const endMs = this.#nowMs + durationMs
    await turn()
    for (let timer = this.#nextDue(endMs); timer != null; timer = this.#nextDue(endMs)) {
      this.#nowMs = timer.dueMs
      this.#run(timer)
      await turn()
    }
    this.#nowMs = endMs
  }

  #run(timer: Timer): void {
    this.#timers.delete(timer)
    if (timer.intervalMs != null) {
      timer.dueMs += timer.intervalMs
      this.#timers.add(timer)
    }
    timer.callback()
  }

  #nextDue(endMs: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (next == null || timer.dueMs < next.dueMs)) next = timer
    }
    return next
  }

  #set(timer: Timer): Disposable {
    this.#timers.add(timer)
    return {
      [Symbol.dispose]: () => {
        this.#timers.delete(timer)
      },
    }
  }
}
