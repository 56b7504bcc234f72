import { assertSlice, MooncakeError, type MemoryProvider, type Region, type Slice } from '@mooncake-ts/core'
import type { Payload } from '../api/options.js'
import { PARTS_MAX } from '../peers/protocol.js'

function isSlice(value: Payload): value is Slice {
  return 'region' in value
}

/**
 * Turns what callers hand in into Slices, for the time of one call. Bytes of one ArrayBuffer share one
 * wrapper, so a batch over subarrays of a large buffer is announced to transports once.
 */
export class BufferScope implements Disposable {
  readonly #memory: MemoryProvider
  readonly #wrapped = new Map<ArrayBufferLike, Region>()

  constructor(memory: MemoryProvider) {
    this.#memory = memory
  }

  /** @throws ERR_INVALID_PARAMS for anything that is neither bytes nor a Slice, ERR_SLICE_OUT_OF_BOUNDS */
  slice(value: Uint8Array | Slice): Slice {
    if (value instanceof Uint8Array) return this.#wrap(value)
    if (typeof value !== 'object' || value == null || !isSlice(value)) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        'value: expected a Uint8Array, a Slice or an array of Slices',
      )
    }
    assertSlice(value)
    return value
  }

  /** @throws as `slice`, and ERR_INVALID_PARAMS for more slices than one value may have */
  payload(value: Payload): Slice[] {
    if (!Array.isArray(value)) return [this.slice(value as Uint8Array | Slice)]
    if (value.length > PARTS_MAX) {
      const message = `value: expected at most ${PARTS_MAX} slices, got ${value.length}`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    return value.map(part => this.slice(part as Slice))
  }

  [Symbol.dispose](): void {
    for (const region of this.#wrapped.values()) region.close()
    this.#wrapped.clear()
  }

  #wrap(bytes: Uint8Array): Slice {
    let region = this.#wrapped.get(bytes.buffer)
    if (region == null) {
      region = this.#memory.wrap(new Uint8Array(bytes.buffer))
      this.#wrapped.set(bytes.buffer, region)
    }
    return { region, offset: bytes.byteOffset, byteLength: bytes.byteLength }
  }
}

export function totalBytes(slices: readonly Slice[]): number {
  let bytes = 0
  for (const slice of slices) bytes += slice.byteLength
  return bytes
}
