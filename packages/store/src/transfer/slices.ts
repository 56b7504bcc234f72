import type { Slice } from '@mooncake-ts/core'

export function subSlice(slice: Slice, offset: number, byteLength: number): Slice {
  return { region: slice.region, offset: slice.offset + offset, byteLength }
}

/** The first `byteLength` bytes of several slices, as slices; shorter where they hold less. */
export function firstBytes(slices: readonly Slice[], byteLength: number): Slice[] {
  const first: Slice[] = []
  let left = byteLength
  for (const slice of slices) {
    if (left <= 0) break
    const take = Math.min(left, slice.byteLength)
    if (take > 0) first.push(subSlice(slice, 0, take))
    left -= take
  }
  return first
}
