import { MooncakeError } from '@mooncake-ts/core'
import { Type, type Static } from '@mooncake-ts/rpc'
import { BATCH_KEYS_MAX, KEY_BYTES_MAX } from './limits.js'

const LENGTH_BYTES = 2
const NONE = new Uint16Array(0)

/**
 * Many keys in two byte strings: for 128 keys neither side makes 128 strings of them, and the master looks
 * for them where they lie in the message.
 */
export const PackedKeys = Type.Object({
  /** UTF-8, one key after another. */
  bytes: Type.Uint8Array({ maxByteLength: BATCH_KEYS_MAX * KEY_BYTES_MAX }),
  /** Bytes of each key, 16 bits, little-endian. */
  lengths: Type.Uint8Array({ maxByteLength: BATCH_KEYS_MAX * LENGTH_BYTES }),
})
export type PackedKeys = Static<typeof PackedKeys>

export function packKeys(keys: readonly string[]): PackedKeys {
  const text = keys.join('')
  const bytes = Buffer.from(text, 'utf8')
  const lengths = Buffer.allocUnsafe(keys.length * LENGTH_BYTES)
  // Where every character is a byte, lengths are known already.
  const isAscii = bytes.byteLength === text.length
  for (let i = 0, at = 0; i < keys.length; i++, at += LENGTH_BYTES) {
    const length = isAscii ? keys[i]!.length : Buffer.byteLength(keys[i]!, 'utf8')
    lengths[at] = length
    lengths[at + 1] = length >> 8
  }
  return { bytes, lengths }
}

/**
 * The lengths of keys that come from outside.
 * @param into used again where it is large enough: a new array for each request lies outside of V8's heap, and makes
 * it collect all
 * @throws ERR_INVALID_PARAMS where they do not fit the bytes, or a key is too long or empty
 */
export function unpackLengths({ bytes, lengths }: PackedKeys, into = NONE): Uint16Array {
  const count = Math.ceil(lengths.byteLength / LENGTH_BYTES)
  const unpacked = into.length < count ? new Uint16Array(count) : into.subarray(0, count)
  let total = lengths.byteLength % LENGTH_BYTES === 0 ? 0 : Infinity
  for (let i = 0; i < count; i++) {
    const length = lengths[i * LENGTH_BYTES]! | (lengths[i * LENGTH_BYTES + 1]! << 8)
    total += length > 0 && length <= KEY_BYTES_MAX ? length : Infinity
    unpacked[i] = length
  }
  if (total === bytes.byteLength) return unpacked
  const message = `Packed keys are ${bytes.byteLength} bytes, of up to ${KEY_BYTES_MAX} each: their lengths do not fit`
  throw new MooncakeError('ERR_INVALID_PARAMS', message)
}

/** One bit a key, the lowest of a byte first. */
export function bitmapOf(count: number): Uint8Array {
  return new Uint8Array(Math.ceil(count / 8))
}

export function hasBit(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1
}
