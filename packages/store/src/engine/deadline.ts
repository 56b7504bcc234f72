import { MooncakeError, type Clock } from '@mooncake-ts/core'

/** The time that one call has, as a signal and as what is left of it. Joined with the caller's own signal. */
export class Deadline implements Disposable {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #timer: Disposable
  readonly #clock: Clock
  readonly #endMs: number

  constructor(clock: Clock, deadlineMs: number, ...signals: ReadonlyArray<AbortSignal | undefined>) {
    const controller = this.#controller
    this.#clock = clock
    this.#endMs = clock.nowMs() + deadlineMs
    this.#timer = clock.after(deadlineMs, () => {
      controller.abort(
        new MooncakeError('ERR_RPC_TIMEOUT', `The call did not end within its deadline of ${deadlineMs} ms`),
      )
    })
    this.signal = AbortSignal.any([controller.signal, ...signals.filter(signal => signal != null)])
  }

  /** Set once the time is up, also where the caller's signal aborted before. */
  get error(): MooncakeError | undefined {
    return this.#controller.signal.reason as MooncakeError | undefined
  }

  /** At least 1, so that a call made with it fails by its own deadline. */
  remainingMs(): number {
    return Math.max(1, Math.floor(this.#endMs - this.#clock.nowMs()))
  }

  /** @throws the signal's reason */
  async sleep(delayMs: number): Promise<void> {
    await this.#clock.sleep(delayMs, this.signal)
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }
}
