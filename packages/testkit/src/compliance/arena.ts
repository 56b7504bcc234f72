import { setMaxListeners } from 'node:events'
import type { MemoryProvider, Region, Slice } from '@mooncake-ts/core'

/** Regions for one test. */
export class Arena {
  readonly #memory: MemoryProvider
  readonly #regions: Region[] = []

  constructor(memory: MemoryProvider) {
    this.#memory = memory
  }

  region(byteLength: number): Region {
    const region = this.#memory.createRegion({ byteLength, label: 'compliance' })
    this.#regions.push(region)
    return region
  }

  /** A slice that holds these bytes, in a region of its own, with unused bytes around it. */
  holding(bytes: Uint8Array): Slice {
    const slice = this.blank(bytes.byteLength)
    bytesOf(slice).set(bytes)
    return slice
  }

  /** A slice of zeros, in a region of its own, with unused bytes around it. */
  blank(byteLength: number): Slice {
    return { region: this.region(byteLength + 2 * MARGIN_BYTES), offset: MARGIN_BYTES, byteLength }
  }

  close(): void {
    for (const region of this.#regions.splice(0)) region.close()
  }
}

/** Odd, so that slices are not aligned. */
export const MARGIN_BYTES = 37

/** A window on the bytes of a slice. */
export const bytesOf = ({ region, offset, byteLength }: Slice): Uint8Array => region.view(offset, byteLength)

/** A copy of them, to be compared later. */
export const copyOf = (slice: Slice): Uint8Array => bytesOf(slice).slice()

/** A part of a slice. */
export function partOf(slice: Slice, offset: number, byteLength: number): Slice {
  return { region: slice.region, offset: slice.offset + offset, byteLength }
}

/** Everything in the region outside of the slice is `fill`. */
export function isUntouchedAround({ region, offset, byteLength }: Slice, fill = 0): boolean {
  const whole = region.view(0, region.byteLength)
  return (
    isFilledWith(whole.subarray(0, offset), fill) && isFilledWith(whole.subarray(offset + byteLength), fill)
  )
}

export function isFilledWith(bytes: Uint8Array, fill: number): boolean {
  if (bytes.byteLength === 0) return true
  // Every byte equals the one before it: one memcmp instead of a loop over megabytes.
  return bytes[0] === fill && Buffer.compare(bytes.subarray(1), bytes.subarray(0, -1)) === 0
}

/** As an assertion it would print megabytes; this says where they differ. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what = 'the bytes'): void {
  if (actual.byteLength !== expected.byteLength)
    throw new Error(`${what}: ${actual.byteLength} instead of ${expected.byteLength}`)
  if (Buffer.compare(actual, expected) === 0) return
  const at = expected.findIndex((byte, i) => actual[i] !== byte)
  throw new Error(`${what} differ from byte ${at}: ${actual[at]} instead of ${expected[at]}`)
}

/** Shared by many batches at a time, each of which may listen. */
export const neverAborted: AbortSignal = new AbortController().signal
setMaxListeners(0, neverAborted)
