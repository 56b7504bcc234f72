import { MooncakeError, type RemoteSlice, type RemoteView } from '@mooncake-ts/core'
import type { HostRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'
import { encodeMap } from './codec.js'
import { allows, GrantReader, type FoundGrant } from './grant-table.js'
import { MappedRegions } from './regions.js'

/** Something that goes on when a region has been mapped, or cannot be. */
export interface MapWaiting {
  readonly owner: object
  readonly mapped: (region: HostRegion) => void
  readonly failed: (error: MooncakeError) => void
  readonly takenBack: () => void
}

/** What one peer lets us read: its table of grants, and those of its regions that are mapped here. */
export class RemoteMemory {
  readonly #channel: Channel
  readonly #table: HostRegion
  readonly #grants: GrantReader
  readonly #mapped: MappedRegions
  /** By region; an entry says that the region has been asked for. */
  readonly #waiting = new Map<number, MapWaiting[]>()

  constructor(channel: Channel, table: HostRegion, regionsMax: number) {
    this.#channel = channel
    this.#table = table
    this.#grants = new GrantReader(table)
    this.#mapped = new MappedRegions(regionsMax)
  }

  /** Regions that the peer has been asked for. */
  get owed(): number {
    return this.#waiting.size
  }

  /** @throws ERR_ACCESS_DENIED */
  find(kind: 'read' | 'write', { window, offset, byteLength }: RemoteSlice): FoundGrant {
    const grant = this.#grants.find(window.key)
    if (grant != null && allows(grant, kind, offset, byteLength)) return grant
    throw this.refusal
  }

  /** Why a grant is not there, or not any more. */
  get refusal(): MooncakeError {
    if (this.#grants.stopped) return new MooncakeError('ERR_TRANSFER_FAIL', 'The peer has stopped')
    return new MooncakeError('ERR_ACCESS_DENIED')
  }

  holds(grant: FoundGrant): boolean {
    return this.#grants.holds(grant)
  }

  /** It outlives the connection: what it looks at is memory. */
  viewOf(grant: FoundGrant, bytes: Uint8Array): RemoteView {
    const grants = this.#grants
    return {
      bytes,
      get valid() {
        return grants.holds(grant)
      },
    }
  }

  mapped(regionId: number): HostRegion | undefined {
    return this.#mapped.get(regionId)
  }

  /** At once where the region is mapped. */
  whenMapped({ regionId }: FoundGrant, key: Uint8Array, waiting: MapWaiting): void {
    const region = this.#mapped.get(regionId)
    if (region != null) {
      waiting.mapped(region)
      return
    }
    const asked = this.#waiting.get(regionId)
    if (asked != null) asked.push(waiting)
    else {
      this.#waiting.set(regionId, [waiting])
      this.#channel.send(encodeMap(regionId, key))
    }
  }

  add(regionId: number, region: HostRegion): void {
    this.#mapped.add(regionId, region)
    for (const waiting of this.#answered(regionId)) waiting.mapped(region)
  }

  /** The peer closed the region, or shows it to nobody. What copies or views it keeps it. */
  drop(regionId: number): void {
    this.#mapped.drop(regionId)
    for (const waiting of this.#answered(regionId)) waiting.failed(this.refusal)
  }

  takeBack(owner: object): void {
    for (const [regionId, waiting] of this.#waiting) {
      const kept = waiting.filter(each => each.owner !== owner)
      this.#waiting.set(regionId, kept)
      for (const each of waiting) if (each.owner === owner) each.takenBack()
    }
  }

  close(reason: MooncakeError): void {
    for (const regionId of [...this.#waiting.keys()]) {
      for (const waiting of this.#answered(regionId)) waiting.failed(reason)
    }
    this.#mapped.clear()
    this.#table.close()
  }

  #answered(regionId: number): readonly MapWaiting[] {
    const waiting = this.#waiting.get(regionId) ?? []
    this.#waiting.delete(regionId)
    return waiting
  }
}
