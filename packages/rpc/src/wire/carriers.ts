import type { Clock, RpcCarrier } from '@mooncake-ts/core'

/** What may carry connections to one peer. A carrier that has failed is left out for a while, for another or none. */
export class Carriers {
  readonly #carriers: readonly RpcCarrier[]
  readonly #clock: Clock
  readonly #pauseMs: number
  readonly #pausedUntilMs = new Map<RpcCarrier, number>()

  /** @param carriers preferred first */
  constructor(carriers: readonly RpcCarrier[], clock: Clock, pauseMs: number) {
    this.#carriers = carriers
    this.#clock = clock
    this.#pauseMs = pauseMs
  }

  /** None at all, whatever works. */
  get none(): boolean {
    return this.#carriers.length === 0
  }

  /** Those to try just now. */
  get usable(): readonly RpcCarrier[] {
    const nowMs = this.#clock.nowMs()
    return this.#carriers.filter(
      carrier => carrier.ready && (this.#pausedUntilMs.get(carrier) ?? -Infinity) <= nowMs,
    )
  }

  failed(carrier: RpcCarrier): void {
    this.#pausedUntilMs.set(carrier, this.#clock.nowMs() + this.#pauseMs)
  }
}
