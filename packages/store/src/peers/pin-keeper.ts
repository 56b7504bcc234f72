import type { Clock } from '@mooncake-ts/core'
import type { PeerClient } from './peer-client.js'

/** An object that its owner keeps where it is for us. */
export interface Pin {
  readonly key: string
  readonly operationId: string
}

/** A pin survives that many renewals that are lost or late, less one. */
const RENEWALS_PER_LEASE = 3

/** Renews the pins that this node has with one owner, all in one call, for as long as there are any. */
export class PinKeeper {
  readonly #peer: PeerClient
  readonly #clock: Clock
  readonly #pins = new Set<Pin>()
  readonly #onIdle: () => void
  #timer: Disposable | undefined
  #renewMs = Infinity

  /** @param onIdle there are no pins any more */
  constructor(peer: PeerClient, clock: Clock, onIdle: () => void) {
    this.#peer = peer
    this.#clock = clock
    this.#onIdle = onIdle
  }

  get size(): number {
    return this.#pins.size
  }

  keep(pin: Pin, leaseMs: number): void {
    this.#pins.add(pin)
    const renewMs = leaseMs / RENEWALS_PER_LEASE
    if (renewMs >= this.#renewMs) return
    this.#timer?.[Symbol.dispose]()
    this.#renewMs = renewMs
    this.#timer = this.#clock.every(renewMs, () => {
      void this.#renew()
    })
  }

  /** Tells the owner. Nobody waits for it: where that is lost, the lease runs out. */
  letGo(pin: Pin): void {
    this.#forget(pin)
    this.#peer.unpinKeys([pin], {}).catch(() => {})
  }

  async #renew(): Promise<void> {
    const pins = [...this.#pins]
    try {
      const results = await this.#peer.renewPins(pins, { deadlineMs: this.#renewMs })
      pins.forEach((pin, index) => {
        if (results[index]?.code != null) this.#forget(pin) // It has run out, and will not come back.
      })
    } catch {
      // The owner is away; the next time comes before the lease has run out.
    }
  }

  #forget(pin: Pin): void {
    if (!this.#pins.delete(pin) || this.#pins.size > 0) return
    this.#onIdle()
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#renewMs = Infinity
  }
}
