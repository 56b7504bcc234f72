import { MooncakeError, type Region } from '@mooncake-ts/core'
import type { IoEngine } from '@mooncake-ts/io-uring'

/** A Region that the engine knows, under a number. */
export interface Slot {
  readonly index: number
}

interface Entry extends Slot {
  /** Frames and exposures that name it. */
  uses: number
  /** The Region is closed: the last user detaches. */
  closing: boolean
}

/** Attaches a Region to the engine when it is first used, and detaches it when it is closed and at rest. */
export class Slots {
  readonly #engine: Pick<IoEngine, 'attach' | 'detach'>
  readonly #entries = new Map<Region, Entry>()
  /** Told when a Region was closed. One listener a Region: exposures come and go too often for one each. */
  onRegionClosed: (slot: Slot) => void = () => {}

  constructor(engine: Pick<IoEngine, 'attach' | 'detach'>) {
    this.#engine = engine
  }

  /** Each call wants one `release`. @throws ERR_REGION_CLOSED */
  acquire(region: Region): Slot {
    const entry = this.#entries.get(region) ?? this.#attach(region)
    entry.uses++
    return entry
  }

  release(slot: Slot): void {
    const entry = slot as Entry
    entry.uses--
    if (entry.closing && entry.uses === 0) this.#engine.detach(entry.index)
  }

  /** The transport is at rest: nothing is in use any more. */
  clear(): void {
    for (const region of [...this.#entries.keys()]) this.#forget(region)
  }

  #attach(region: Region): Entry {
    if (region.closed) throw new MooncakeError('ERR_REGION_CLOSED')
    const entry: Entry = { index: this.#engine.attach(region), uses: 0, closing: false }
    this.#entries.set(region, entry)
    region.onClose(() => {
      this.#forget(region)
    })
    return entry
  }

  #forget(region: Region): void {
    const entry = this.#entries.get(region)
    if (entry == null) return
    this.#entries.delete(region)
    entry.closing = true
    this.onRegionClosed(entry)
    if (entry.uses === 0) this.#engine.detach(entry.index)
  }
}
