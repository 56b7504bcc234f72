import type { Clock, Logger } from '@mooncake-ts/core'
import type { PeerClient } from './peer-client.js'

/** An object that its owner keeps where it is for us. */
export interface Pin {
  readonly key: string
  readonly operationId: string
}

/** A pin survives that many renewals that are lost or late, less one. */
const RENEWALS_PER_LEASE = 3

/** Pins that were let go travel with the next request for pins, or by themselves when none has come for this long. */
const LET_GO_MS = 10

/** Of one call: with the longest keys it is a fifth of the frames that a peer takes by default. */
export const PINS_PER_CALL_MAX = 1024

/** Renews the pins that this node has with one owner, all of them together, for as long as there are any. */
export class PinKeeper {
  readonly #peer: PeerClient
  readonly #clock: Clock
  readonly #pins = new Set<Pin>()
  /** The owner has not heard yet that we have done with them. */
  #loose: Pin[] = []
  /** Requests under way that may bring pins. */
  #asking = 0
  readonly #log: Logger
  readonly #onIdle: () => void
  #renewing: Disposable | undefined
  #renewMs = Infinity
  #lettingGo: Disposable | undefined

  /** @param onIdle there are no pins any more, and nobody is asking for any */
  constructor(peer: PeerClient, clock: Clock, logger: Logger, onIdle: () => void) {
    this.#peer = peer
    this.#clock = clock
    this.#log = logger
    this.#onIdle = onIdle
  }

  get size(): number {
    return this.#pins.size
  }

  /** Until that is disposed of pins may come. */
  asking(): Disposable {
    this.#asking++
    return {
      [Symbol.dispose]: () => {
        this.#asking--
        this.#restIfIdle()
      },
    }
  }

  keep(pin: Pin, leaseMs: number): void {
    this.#pins.add(pin)
    const renewMs = leaseMs / RENEWALS_PER_LEASE
    if (renewMs >= this.#renewMs) return
    this.#renewing?.[Symbol.dispose]()
    this.#renewMs = renewMs
    this.#renewing = this.#clock.every(renewMs, () => {
      void this.#renew()
    })
  }

  /** The owner hears of it soon, and nobody waits for it: where that is lost, the lease runs out. */
  letGo(pin: Pin): void {
    this.#pins.delete(pin)
    this.#loose.push(pin)
    this.#lettingGo ??= this.#clock.after(LET_GO_MS, () => {
      this.flush()
    })
  }

  /** Pins that were let go, for somebody who tells the owner: as many as go into one call. */
  takeLoose(): Pin[] {
    return this.#loose.splice(0, PINS_PER_CALL_MAX)
  }

  /** Tells the owner now. */
  flush(): void {
    this.#lettingGo?.[Symbol.dispose]()
    this.#lettingGo = undefined
    while (this.#loose.length > 0) this.#peer.unpinKeys(this.takeLoose(), {}).catch(() => {})
    this.#restIfIdle()
  }

  async #renew(): Promise<void> {
    const pins = [...this.#pins]
    const renewals: Promise<void>[] = []
    for (let at = 0; at < pins.length; at += PINS_PER_CALL_MAX) {
      renewals.push(this.#renewSome(pins.slice(at, at + PINS_PER_CALL_MAX)))
    }
    await Promise.all(renewals)
    this.#restIfIdle()
  }

  async #renewSome(pins: readonly Pin[]): Promise<void> {
    try {
      const results = await this.#peer.renewPins(pins, { deadlineMs: this.#renewMs })
      pins.forEach((pin, index) => {
        if (results[index]?.code != null) this.#pins.delete(pin) // It has run out, and will not come back.
      })
    } catch (error) {
      // The next time comes before the lease has run out.
      const { endpoint } = this.#peer
      this.#log.warn('Pins on shown objects could not be renewed', { endpoint, pins: pins.length, error })
    }
  }

  #restIfIdle(): void {
    if (this.#pins.size + this.#loose.length + this.#asking > 0) return
    this.#onIdle()
    this.#lettingGo?.[Symbol.dispose]()
    this.#lettingGo = undefined
    this.#renewing?.[Symbol.dispose]()
    this.#renewing = undefined
    this.#renewMs = Infinity
  }
}
