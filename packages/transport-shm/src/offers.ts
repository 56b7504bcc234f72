import { MooncakeError } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import { encodeGone, encodeRegion } from './codec.js'
import type { RegionClosings } from './regions.js'

interface Offer {
  readonly closing: Disposable
  /** Pulls out of it that have not ended. */
  inFlight: number
}

/** Regions of this process that one peer has mapped, or is about to. */
export class Offers {
  readonly #channel: Channel
  readonly #closings: RegionClosings
  readonly #regionsMax: number
  /** In the order of use. */
  readonly #offers = new Map<number, Offer>()

  constructor(channel: Channel, closings: RegionClosings, regionsMax: number) {
    this.#channel = channel
    this.#closings = closings
    this.#regionsMax = regionsMax
  }

  /** The peer knows the region when it gets what is sent next. @throws ERR_OVERLOADED */
  use(region: HostRegion): void {
    const offer = this.#offers.get(region.id) ?? this.#offer(region)
    offer.inFlight++
    this.#offers.delete(region.id)
    this.#offers.set(region.id, offer)
  }

  release(regionId: number): void {
    const offer = this.#offers.get(regionId)
    if (offer != null) offer.inFlight--
  }

  close(): void {
    for (const { closing } of this.#offers.values()) closing[Symbol.dispose]()
    this.#offers.clear()
  }

  #offer(region: HostRegion): Offer {
    if (this.#offers.size >= this.#regionsMax) this.#withdrawEldest()
    this.#channel.send(encodeRegion(region.id, region.byteLength), region)
    const closing = this.#closings.watch(region, () => {
      this.#withdraw(region.id)
    })
    return { closing, inFlight: 0 }
  }

  #withdrawEldest(): void {
    for (const [id, { inFlight }] of this.#offers) {
      if (inFlight > 0) continue
      this.#withdraw(id)
      return
    }
    const message = `Operations on ${this.#regionsMax} regions are in flight to one peer`
    throw new MooncakeError('ERR_OVERLOADED', message)
  }

  #withdraw(id: number): void {
    this.#offers.get(id)?.closing[Symbol.dispose]()
    this.#offers.delete(id)
    this.#channel.send(encodeGone(id))
  }
}
