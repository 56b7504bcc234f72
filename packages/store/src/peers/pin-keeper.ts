import type { Clock } from '@mooncake-ts/core'
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

/** Renews the pins that this node has with one owner, all in one call, for as long as there are any. */
export class PinKeeper {
  readonly #peer: PeerClient
  readonly #clock: Clock
  readonly #pins = new Set<Pin>()
  /** The owner has not heard yet that we have done with them. */
  #loose: Pin[] = []
  readonly #onIdle: () => void
  #renewing: Disposable | undefined
  #renewMs = Infinity
  #lettingGo: Disposable | undefined

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

  /** Pins that were let go, for somebody who tells the owner. */
  takeLoose(): Pin[] {
    const loose = this.#loose
    this.#loose = []
    return loose
  }

  /** Tells the owner now. */
  flush(): void {
    this.#lettingGo?.[Symbol.dispose]()
    this.#lettingGo = undefined
    const loose = this.takeLoose()
    if (loose.length > 0) this.#peer.unpinKeys(loose, {}).catch(() => {})
    this.#restIfIdle()
  }

  async #renew(): Promise<void> {
    const pins = [...this.#pins]
    try {
      const results = await this.#peer.renewPins(pins, { deadlineMs: this.#renewMs })
      pins.forEach((pin, index) => {
        if (results[index]?.code != null) this.#pins.delete(pin) // It has run out, and will not come back.
      })
      this.#restIfIdle()
    } catch {
      // The owner is away; the next time comes before the lease has run out.
    }
  }

  #restIfIdle(): void {
    if (this.#pins.size > 0 || this.#loose.length > 0) return
    this.#onIdle()
    this.#renewing?.[Symbol.dispose]()
    this.#renewing = undefined
    this.#renewMs = Infinity
  }
}
