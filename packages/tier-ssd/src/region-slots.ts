import type { Region } from '@mooncake-ts/core'
import type { IoEngine } from '@mooncake-ts/io-uring'

export interface RegionSlot {
  readonly slot: number
  /** The region begins at a page, so an offset says how its bytes are aligned. */
  readonly isPageAligned: boolean
}

/** The engine's numbers of regions, for as long as these are open. */
export class RegionSlots {
  readonly #engine: IoEngine
  readonly #slots = new Map<Region, RegionSlot>()
  #closed = false

  constructor(engine: IoEngine) {
    this.#engine = engine
  }

  /** @throws ERR_REGION_CLOSED, ERR_SHUTTING_DOWN */
  of(region: Region): RegionSlot {
    const known = this.#slots.get(region)
    if (known != null) return known
    const slot = { slot: this.#engine.attach(region), isPageAligned: isMapped(region) }
    this.#slots.set(region, slot)
    region.onClose(() => {
      this.#slots.delete(region)
      if (!this.#closed) this.#engine.detach(slot.slot)
    })
    return slot
  }

  /** The engine gives up the memory. */
  close(): void {
    this.#closed = true
    this.#slots.clear()
  }
}

/** Regions with a memfd are whole pages; the bytes of a caller may begin anywhere. */
function isMapped(region: Region): boolean {
  const { fd } = region as { readonly fd?: unknown }
  return typeof fd === 'number' && fd >= 0
}
