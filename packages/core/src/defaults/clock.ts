import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../contracts/clock.js'

/** The process's own time. */
export const systemClock: Clock = Object.freeze({
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs: number, callback: () => void): Disposable {
    const timer = setTimeout(callback, delayMs).unref()
    return {
      [Symbol.dispose]: () => {
        clearTimeout(timer)
      },
    }
  },
  every(intervalMs: number, callback: () => void): Disposable {
    const timer = setInterval(callback, intervalMs).unref()
    return {
      [Symbol.dispose]: () => {
        clearInterval(timer)
      },
    }
  },
  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    try {
      await wait(delayMs, undefined, signal == null ? {} : { signal })
    } catch (error) {
      throw signal?.reason ?? error // Node wraps the reason in an AbortError of its own.
    }
  },
})
