import { randomBytes, timingSafeEqual } from 'node:crypto'
import { MooncakeError, type Access, type Exposure, type ExposeOptions, type Region } from '@mooncake-ts/core'
import { encodeKey, KIND_READ, TOKEN_BYTES, type Descriptor } from './codec.js'
import type { Slot, Slots } from './slots.js'

/** A range of local memory that peers may reach, until it is revoked. */
export class ExposedRange {
  readonly token: Uint8Array = randomBytes(TOKEN_BYTES)
  /** What peers' operations touch right now. */
  #inFlight = 0
  #revoked = false
  readonly #atRest: () => void
  /** Settles when the range is revoked and no peer touches it any more. */
  readonly rest: Promise<void>

  constructor(
    readonly slot: Slot,
    readonly offset: number,
    readonly byteLength: number,
    readonly access: Access,
  ) {
    let atRest = (): void => {}
    this.rest = new Promise(resolve => {
      atRest = resolve
    })
    this.#atRest = atRest
  }

  /** For the whole operation. Overflow-safe: `offset + operationBytes` could lose its low bits. */
  allows({ kind, offset, operationBytes }: Descriptor): boolean {
    const direction = kind === KIND_READ ? 'read' : 'write'
    if (this.#revoked || (this.access !== 'readwrite' && this.access !== direction)) return false
    return offset <= this.byteLength && operationBytes <= this.byteLength - offset
  }

  retain(): void {
    this.#inFlight++
  }

  release(): void {
    this.#inFlight--
    if (this.#revoked && this.#inFlight === 0) this.#atRest()
  }

  revoke(): void {
    if (this.#revoked) return
    this.#revoked = true
    if (this.#inFlight === 0) this.#atRest()
  }
}

/** What this process lets peers reach. Ids are never reused, so a late operation on a revoked range meets nothing. */
export class Exposures {
  readonly #slots: Slots
  readonly #ranges = new Map<number, ExposedRange>()
  #nextId = 1

  constructor(slots: Slots) {
    this.#slots = slots
    slots.onRegionClosed = slot => {
      for (const [id, range] of this.#ranges) if (range.slot === slot) this.#revoke(id, range)
    }
  }

  /** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED */
  expose(region: Region, options: ExposeOptions, endpoint: string): Exposure {
    const { offset, byteLength, access } = options
    assertWithin(region, offset, byteLength)
    const slot = this.#slots.acquire(region)
    const range = new ExposedRange(slot, offset, byteLength, access)
    const id = this.#nextId++
    this.#ranges.set(id, range)
    void range.rest.then(() => {
      this.#slots.release(slot)
    })
    const revoke = (): Promise<void> => {
      this.#revoke(id, range)
      return range.rest
    }
    return { window: { scheme: 'tcp', endpoint, key: encodeKey(id, range.token) }, revoke }
  }

  /**
   * The range that a descriptor names, retained, or undefined where it may not: unknown, revoked, wrong token, out of
   * range or wrong direction. They look the same to the peer, so that it learns nothing by trying.
   */
  authorize(descriptor: Descriptor, token: Uint8Array): ExposedRange | undefined {
    const range = this.#ranges.get(descriptor.exposureId)
    if (range == null || !timingSafeEqual(range.token, token) || !range.allows(descriptor)) return undefined
    range.retain()
    return range
  }

  /** Settles when no peer touches anything any more. */
  async revokeAll(): Promise<void> {
    const ranges = [...this.#ranges]
    for (const [id, range] of ranges) this.#revoke(id, range)
    await Promise.all(ranges.map(([, range]) => range.rest))
  }

  #revoke(id: number, range: ExposedRange): void {
    this.#ranges.delete(id)
    range.revoke()
  }
}

/** @throws ERR_SLICE_OUT_OF_BOUNDS */
export function assertWithin(region: Region, offset: number, byteLength: number): void {
  const valid =
    Number.isSafeInteger(offset) && Number.isSafeInteger(byteLength) && offset >= 0 && byteLength >= 0
  if (valid && offset <= region.byteLength && byteLength <= region.byteLength - offset) return
  const message = `${byteLength} bytes at ${offset} are not inside a region of ${region.byteLength} bytes`
  throw new MooncakeError('ERR_SLICE_OUT_OF_BOUNDS', message)
}
