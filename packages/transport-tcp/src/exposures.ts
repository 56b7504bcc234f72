import { randomBytes } from 'node:crypto'
import {
  assertWithin,
  type Access,
  type Clock,
  type Exposure,
  type ExposeOptions,
  type Region,
} from '@mooncake-ts/core'
import { encodeKey, KIND_READ, TOKEN_BYTES, type Descriptor } from './codec.js'
import type { Slot, Slots } from './slots.js'

/** A range of local memory that peers may reach, until it is revoked. */
export class ExposedRange {
  readonly token: Uint8Array = randomBytes(TOKEN_BYTES)
  readonly #tokenView = new DataView(this.token.buffer, this.token.byteOffset, TOKEN_BYTES)
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

  /**
   * Whether the token lies there. Takes the same time for any: no way to guess it word by word. Four words in
   * JavaScript cost a fraction of a call to `timingSafeEqual`, which wants a new view for every descriptor.
   */
  hasToken(view: DataView, at: number): boolean {
    let difference = 0
    for (let i = 0; i < TOKEN_BYTES; i += 4) {
      difference |= this.#tokenView.getUint32(i, true) ^ view.getUint32(at + i, true)
    }
    return difference === 0
  }

  /** Revoked, and no peer touches it any more. */
  get atRest(): boolean {
    return this.#revoked && this.#inFlight === 0
  }

  retain(): void {
    this.#inFlight++
  }

  release(): void {
    this.#inFlight--
    if (this.atRest) this.#atRest()
  }

  revoke(): void {
    this.#revoked = true
    if (this.atRest) this.#atRest()
  }
}

/**
 * What this process lets peers reach. Ids are never reused, so a late operation on a revoked range meets
 * nothing.
 */
export class Exposures {
  readonly #slots: Slots
  readonly #clock: Clock
  readonly #abortGraceMs: number
  readonly #ranges = new Map<number, ExposedRange>()
  #nextId = 1
  /**
   * Told when peers still touch a range `abortGraceMs` after it was revoked: it must be brought to rest by
   * force.
   */
  onOverdue: (range: ExposedRange) => void = () => {}

  constructor(slots: Slots, clock: Clock, abortGraceMs: number) {
    this.#slots = slots
    this.#clock = clock
    this.#abortGraceMs = abortGraceMs
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
   * The range that a descriptor names, retained, or undefined where it may not: unknown, revoked, wrong
   * token, out of range or wrong direction. They look the same to the peer, so that it learns nothing by
   * trying.
   */
  authorize(descriptor: Descriptor, view: DataView, tokenAt: number): ExposedRange | undefined {
    const range = this.#ranges.get(descriptor.exposureId)
    if (range == null || !range.hasToken(view, tokenAt) || !range.allows(descriptor)) return undefined
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
    if (!this.#ranges.delete(id)) return
    range.revoke()
    if (range.atRest) return
    const grace = this.#clock.after(this.#abortGraceMs, () => {
      this.onOverdue(range)
    })
    void range.rest.then(() => {
      grace[Symbol.dispose]()
    })
  }
}
