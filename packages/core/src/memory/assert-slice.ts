import type { Region, Slice } from '../contracts/memory.js'
import { MooncakeError } from '../errors/error.js'

/**
 * Whether `byteLength` bytes from `offset` lie inside of `boundBytes`; false for anything but non-negative
 * safe integers.
 */
export function isInside(offset: number, byteLength: number, boundBytes: number): boolean {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(byteLength)) return false
  return offset >= 0 && byteLength >= 0 && byteLength <= boundBytes - offset
}

/** For those who are about to touch the bytes. @throws ERR_REGION_CLOSED, ERR_SLICE_OUT_OF_BOUNDS */
export function assertSlice({ region, offset, byteLength }: Slice): void {
  if (region.closed) throw new MooncakeError('ERR_REGION_CLOSED', `Region ${region.id} was closed`)
  assertWithin(region, offset, byteLength)
}

/** Of a region that may be closed: its size alone. @throws ERR_SLICE_OUT_OF_BOUNDS */
export function assertWithin({ byteLength: boundBytes }: Region, offset: number, byteLength: number): void {
  if (isInside(offset, byteLength, boundBytes)) return
  const message = `${byteLength} bytes from ${offset} are not inside a region of ${boundBytes}`
  throw new MooncakeError('ERR_SLICE_OUT_OF_BOUNDS', message)
}
