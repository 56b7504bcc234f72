import type { Clock } from '@mooncake-ts/core'

interface Timer {
  dueMs: number
  readonly everyMs?: number
  readonly callback: () => void
}

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>()
  #nowMs = 0

  get timerCount(): number {
    return this.#timers.size
  }

  nowMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  after(delayMs: number, callback: () => void): Disposable {
    return this.#add({ dueMs: this.#nowMs + delayMs, callback })
  }

  every(everyMs: number, callback: () => void): Disposable {
    return this.#add({ dueMs: this.#nowMs + everyMs, everyMs, callback })
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise(resolve => this.after(delayMs, resolve))
  }

  /** Runs what falls due on the way, in order of time. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs
    for (;;) {
      const due = [...this.#timers].filter(timer => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0]
      if (due == null) break
      this.#nowMs = Math.max(this.#nowMs, due.dueMs)
      if (due.everyMs == null) this.#timers.delete(due)
      else due.dueMs += due.everyMs
      due.callback()
    }
    this.#nowMs = endMs
  }

  #add(timer: Timer): Disposable {
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }
}
