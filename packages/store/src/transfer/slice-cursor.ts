import { MooncakeError, type CopyPool, type Slice } from '@mooncake-ts/core'
import { subSlice } from './slices.js'

/** Bytes that nobody wants. */
export interface Gap {
  readonly region?: undefined
  readonly byteLength: number
}

/** Puts a stream of bytes into slices, one after the other. */
export class SliceCursor {
  readonly #slices: ReadonlyArray<Slice | Gap>
  readonly #copyPool: CopyPool
  #index = 0
  /** In the slice at `#index`. */
  #offset = 0

  constructor(slices: ReadonlyArray<Slice | Gap>, copyPool: CopyPool) {
    this.#slices = slices
    this.#copyPool = copyPool
  }

  /** @throws ERR_PROTOCOL for more bytes than the slices hold, ERR_REGION_CLOSED */
  write(bytes: Uint8Array): void {
    const parts: Slice[] = []
    /** Where the bytes of `parts` begin: a gap ends a run. */
    let from = 0
    let at = 0
    while (at < bytes.byteLength) {
      const slice = this.#slices[this.#index]
      if (slice == null) throw new MooncakeError('ERR_PROTOCOL', 'More bytes came than were announced')
      const room = slice.byteLength - this.#offset
      const take = Math.min(room, bytes.byteLength - at)
      if (slice.region != null) {
        parts.push(take === slice.byteLength ? slice : subSlice(slice, this.#offset, take))
      } else {
        this.#scatter(bytes, from, parts.splice(0))
        from = at + take
      }
      at += take
      this.#offset += take
      if (take < room) continue
      this.#index++
      this.#offset = 0
    }
    this.#scatter(bytes, from, parts)
  }

  #scatter(bytes: Uint8Array, from: number, parts: readonly Slice[]): void {
    if (parts.length > 0) this.#copyPool.scatter(from === 0 ? bytes : bytes.subarray(from), parts)
  }
}
