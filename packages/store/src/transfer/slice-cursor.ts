import { MooncakeError, type CopyPool, type Slice } from '@mooncake-ts/core'
import { subSlice } from './slices.js'

/** Puts a stream of bytes into slices, one after the other. */
export class SliceCursor {
  readonly #slices: readonly Slice[]
  readonly #copyPool: CopyPool
  #index = 0
  /** In the slice at `#index`. */
  #offset = 0

  constructor(slices: readonly Slice[], copyPool: CopyPool) {
    this.#slices = slices
    this.#copyPool = copyPool
  }

  /** All slices are full. */
  get full(): boolean {
    return this.#index === this.#slices.length
  }

  /** @throws ERR_PROTOCOL for more bytes than the slices hold, ERR_REGION_CLOSED */
  write(bytes: Uint8Array): void {
    const parts: Slice[] = []
    let left = bytes.byteLength
    while (left > 0) {
      const slice = this.#slices[this.#index]
      if (slice == null) throw new MooncakeError('ERR_PROTOCOL', 'More bytes came than were announced')
      const room = slice.byteLength - this.#offset
      const take = Math.min(room, left)
      parts.push(take === slice.byteLength ? slice : subSlice(slice, this.#offset, take))
      left -= take
      this.#offset += take
      if (take === room) {
        this.#index++
        this.#offset = 0
      }
    }
    this.#copyPool.scatter(bytes, parts)
  }
}
