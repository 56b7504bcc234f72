/** Time as the engine sees it. Durations come from here, and tests replace it: no test sleeps. */
export interface Clock {
  /** Monotonic, with fractions; its zero means nothing. */
  nowMs(): number
  /** Milliseconds since the Unix epoch, for people and for generations. */
  wallMs(): number
  /** Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Disposable
  /** Does not keep the process alive. */
  every(intervalMs: number, callback: () => void): Disposable
  /** Rejects with the signal's reason. Keeps the process alive while it waits. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}
