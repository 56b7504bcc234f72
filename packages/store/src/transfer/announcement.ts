import type { Access, Exposure, Region, RevokeOptions, Slice, Transport } from '@mooncake-ts/core'
import type { WireRegion } from '../peers/protocol.js'

interface Range {
  readonly index: number
  start: number
  end: number
}

/**
 * Local memory of one RPC, announced to the peer that is to move the bytes: one window per region over the
 * range that the batch touches. Revoking it is what lets a call end at its deadline with its slices at rest,
 * whatever the peer does (I3).
 */
export class Announcement {
  readonly regions: WireRegion[] = []
  readonly #ranges = new Map<Region, Range>()
  readonly #exposures: Exposure[] = []

  constructor(transports: readonly Transport[], slices: Iterable<Slice>, access: Access) {
    for (const { region, offset, byteLength } of slices) {
      const range = this.#ranges.get(region)
      if (range == null) {
        this.#ranges.set(region, { index: this.#ranges.size, start: offset, end: offset + byteLength })
      } else {
        range.start = Math.min(range.start, offset)
        range.end = Math.max(range.end, offset + byteLength)
      }
    }
    for (const [region, { start, end }] of this.#ranges) {
      const exposures = this.#expose(transports, { region, offset: start, byteLength: end - start }, access)
      this.regions.push({ windows: exposures.map(exposure => exposure.window) })
    }
  }

  /** Where a slice lies in what was announced, as the protocol's triple. */
  locate(slice: Slice): [region: number, offset: number, byteLength: number] {
    const { index, start } = this.#ranges.get(slice.region)!
    return [index, slice.offset - start, slice.byteLength]
  }

  /** Settles when no peer touches the memory any more. */
  async revoke(options?: RevokeOptions): Promise<void> {
    await revokeAll(this.#exposures, options)
  }

  #expose(transports: readonly Transport[], slice: Slice, access: Access): Exposure[] {
    try {
      const exposures = exposeAll(transports, slice, access)
      this.#exposures.push(...exposures)
      return exposures
    } catch (error) {
      void this.revoke({ peerAtRest: true }) // No peer has heard of them.
      throw error
    }
  }
}

/** One exposure per transport, or none where one of them refuses. */
export function exposeAll(
  transports: readonly Transport[],
  { region, offset, byteLength }: Slice,
  access: Access,
): Exposure[] {
  const exposures: Exposure[] = []
  try {
    for (const transport of transports)
      exposures.push(transport.expose(region, { offset, byteLength, access }))
    return exposures
  } catch (error) {
    void revokeAll(exposures, { peerAtRest: true }) // No peer has heard of them.
    throw error
  }
}

export async function revokeAll(exposures: readonly Exposure[], options?: RevokeOptions): Promise<void> {
  await Promise.all(exposures.map(exposure => exposure.revoke(options)))
}
