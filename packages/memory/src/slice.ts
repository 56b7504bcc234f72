import { MooncakeError, type Region, type Slice } from '@mooncake-ts/core'

/**
 * A piece of `region`: all that follows `offset`, unless `byteLength` says less.
 * @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED
 */
export function sliceOf(region: Region, offset = 0, byteLength = region.byteLength - offset): Slice {
  const slice = { region, offset, byteLength }
  assertSlice(slice)
  return slice
}

/** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED */
export function assertSlice({ region, offset, byteLength }: Slice): void {
  if (region.closed) throw new MooncakeError('ERR_REGION_CLOSED', `Region ${region.id} was closed`)
  const inside =
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(byteLength) &&
    offset >= 0 &&
    byteLength >= 0 &&
    offset + byteLength <= region.byteLength
  if (inside) return
  throw new MooncakeError(
    'ERR_SLICE_OUT_OF_BOUNDS',
    `${byteLength} bytes at offset ${offset} lie outside of region ${region.id} of ${region.byteLength} bytes`,
  )
}
