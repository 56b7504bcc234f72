import { assertSlice, MooncakeError, type Exposure, type ExposeOptions, type Region } from '@mooncake-ts/core'
import { allows, type GrantTable, KEY_BYTES, PRIVATE_REGION, unreachableKey } from './grant-table.js'
import { fdOf, type RegionClosings } from './regions.js'

/** A range of local memory that peers may reach, until it is revoked. */
export class ExposedRange {
  /** Copies of this process into it, or out of it into staging. */
  #inFlight = 0
  #revoked = false
  readonly #atRest: () => void
  /** Settles when the range is revoked, and this process copies nothing there any more for a peer. */
  readonly rest: Promise<void>

  constructor(
    readonly region: Region,
    readonly offset: number,
    readonly key: Uint8Array,
    readonly closing: Disposable,
  ) {
    let atRest = (): void => {}
    this.rest = new Promise(resolve => {
      atRest = resolve
    })
    this.#atRest = atRest
  }

  get revoked(): boolean {
    return this.#revoked
  }

  retain(): void {
    this.#inFlight++
  }

  release(): void {
    this.#inFlight--
    if (this.#revoked && this.#inFlight === 0) this.#atRest()
  }

  revoke(): void {
    this.#revoked = true
    if (this.#inFlight === 0) this.#atRest()
  }
}

/** What this process lets peers reach. */
export class Exposures {
  readonly #table: GrantTable
  readonly #closings: RegionClosings
  readonly #endpoint: string
  /** By slot. */
  readonly #ranges = new Map<number, ExposedRange>()

  constructor(table: GrantTable, closings: RegionClosings, endpoint: string) {
    this.#table = table
    this.#closings = closings
    this.#endpoint = endpoint
  }

  /**
   * When all slots are taken the window is one that nobody reaches by this transport.
   * @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED
   */
  expose(region: Region, { offset, byteLength, access }: ExposeOptions): Exposure {
    assertSlice({ region, offset, byteLength })
    const regionId = fdOf(region) >= 0 ? region.id : PRIVATE_REGION
    const key = this.#table.open({ regionId, offset, byteLength, access })
    if (key == null) return { window: this.#window(unreachableKey()), revoke: async () => {} }
    const closing = this.#closings.watch(region, () => {
      this.#revoke(range)
    })
    const range = new ExposedRange(region, offset, key, closing)
    this.#ranges.set(slotOf(key), range)
    const revoke = (): Promise<void> => {
      this.#revoke(range)
      return range.rest
    }
    return { window: this.#window(key), revoke }
  }

  /**
   * The range that a peer's key names, or undefined where it may not: unknown, revoked, wrong token, out of
   * range or wrong direction. They look the same to the peer.
   */
  authorize(
    kind: 'read' | 'write',
    key: Uint8Array,
    offset: number,
    byteLength: number,
  ): ExposedRange | undefined {
    const grant = key.byteLength === KEY_BYTES ? this.#table.find(key) : undefined
    return grant != null && allows(grant, kind, offset, byteLength) ? this.#ranges.get(grant.slot) : undefined
  }

  /** Settles when no peer's operation touches anything any more. */
  async stop(): Promise<void> {
    this.#table.stop()
    const ranges = [...this.#ranges.values()]
    for (const range of ranges) this.#revoke(range)
    await Promise.all(ranges.map(range => range.rest))
  }

  #revoke(range: ExposedRange): void {
    if (range.revoked) return
    this.#table.shut(range.key)
    this.#ranges.delete(slotOf(range.key))
    range.closing[Symbol.dispose]()
    range.revoke()
  }

  #window(key: Uint8Array): Exposure['window'] {
    return { scheme: 'shm', endpoint: this.#endpoint, key }
  }
}

export function slotOf(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset).getUint32(0, true)
}

/** `Exposures.authorize`, for those that fail without it. @throws ERR_ACCESS_DENIED */
export function authorized(exposures: Exposures, ...what: Parameters<Exposures['authorize']>): ExposedRange {
  const range = exposures.authorize(...what)
  if (range == null) throw new MooncakeError('ERR_ACCESS_DENIED')
  return range
}
