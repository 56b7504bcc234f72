import { followSignal, MooncakeError, type Clock } from '@mooncake-ts/core'

/** What Node's timers can count: 24 days. They take more for 1 ms. */
export const TIMER_MS_MAX = 2 ** 31 - 1

const RPC_DEADLINE_MAX_MS = 86_400_000

/** The time that one call has, as a signal and as what is left of it. Joined with the caller's own signal. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController()
  readonly #timer: Disposable
  readonly #following: Disposable | undefined
  readonly #clock: Clock
  readonly #endMs: number
  #error: MooncakeError | undefined

  /** @param givenMs Infinity, too */
  constructor(clock: Clock, givenMs: number, signal: AbortSignal | undefined) {
    const deadlineMs = Math.min(givenMs, TIMER_MS_MAX)
    this.#clock = clock
    this.#endMs = clock.nowMs() + deadlineMs
    this.#timer = clock.after(deadlineMs, () => {
      const message = `The call did not end within its deadline of ${deadlineMs} ms`
      this.#error = new MooncakeError('ERR_RPC_TIMEOUT', message)
      this.#controller.abort(this.#error)
    })
    this.#following = signal == null ? undefined : followSignal(this.#controller, signal)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Set once the time is up. */
  get error(): MooncakeError | undefined {
    return this.#error
  }

  /** At least 1, so that a call made with it fails by its own deadline; at most what an RPC takes. */
  remainingMs(): number {
    return Math.min(RPC_DEADLINE_MAX_MS, Math.max(1, Math.floor(this.#endMs - this.#clock.nowMs())))
  }

  /** @throws the signal's reason */
  async sleep(delayMs: number): Promise<void> {
    await this.#clock.sleep(delayMs, this.signal)
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
    this.#following?.[Symbol.dispose]()
  }
}
