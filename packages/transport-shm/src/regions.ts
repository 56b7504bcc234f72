import type { Region } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'

/** Of the memfd behind a region; −1 where there is none, as for a caller's own bytes. */
export function fdOf(region: Region): number {
  return (region as Partial<HostRegion>).fd ?? -1
}

/**
 * Who wants to know when regions are closed. One listener for each region, because a region keeps them all.
 */
export class RegionClosings {
  readonly #listeners = new WeakMap<Region, Set<() => void>>()

  watch(region: Region, listener: () => void): Disposable {
    const known = this.#listeners.get(region)
    const listeners = known ?? new Set()
    listeners.add(listener)
    if (known == null) {
      this.#listeners.set(region, listeners)
      region.onClose(() => {
        for (const each of [...listeners]) each()
      })
    }
    return { [Symbol.dispose]: () => void listeners.delete(listener) }
  }
}

/**
 * Memory of a peer that is mapped here, by the number that the peer gave it. Whatever copies or views it
 * keeps it; this only says which may be used for something new.
 */
export class MappedRegions {
  readonly #regionsMax: number
  /** In the order of use. */
  readonly #regions = new Map<number, HostRegion>()

  constructor(regionsMax: number) {
    this.#regionsMax = regionsMax
  }

  get(id: number): HostRegion | undefined {
    const region = this.#regions.get(id)
    if (region != null) {
      this.#regions.delete(id)
      this.#regions.set(id, region)
    }
    return region
  }

  add(id: number, region: HostRegion): void {
    this.drop(id)
    this.#regions.set(id, region)
    for (const eldest of this.#regions.keys()) {
      if (this.#regions.size <= this.#regionsMax) break
      this.drop(eldest)
    }
  }

  drop(id: number): void {
    this.#regions.get(id)?.close()
    this.#regions.delete(id)
  }

  clear(): void {
    for (const id of [...this.#regions.keys()]) this.drop(id)
  }
}
