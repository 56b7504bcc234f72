import { native } from './native.js'

/**
 * CRC-32C (Castagnoli) of `bytes`, on the JavaScript thread. `seed` is the checksum of what came before, so
 * that `crc32c(b, crc32c(a))` is that of `a` and `b` together. For slices of Regions, and off the thread:
 * `CopyPool.checksum`.
 * @throws ERR_NATIVE_MISSING
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  return native().crc32c(bytes, seed)
}
