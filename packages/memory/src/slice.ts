import { assertSlice, type Region, type Slice } from '@mooncake-ts/core'

/**
 * A piece of `region`: all that follows `offset`, unless `byteLength` says less.
 * @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED
 */
export function sliceOf(region: Region, offset = 0, byteLength = region.byteLength - offset): Slice {
  const slice = { region, offset, byteLength }
  assertSlice(slice)
  return slice
}
