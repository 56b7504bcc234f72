import { randomBytes } from 'node:crypto'

/** New for every process, so that nobody can prepare keys that all meet in one bucket. */
const SECRET = randomBytes(8)
const SECRET_0 = SECRET.readInt32LE(0)
const SECRET_1 = SECRET.readInt32LE(4)

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein's SipHash with words of 32 bits; the variant that Linux uses for
 * its hash tables): a keyed hash that costs no more than a weak one byte by byte, because it takes four bytes
 * a round. The state is in local variables, and the rounds stand where they are used: that is what the
 * compiler keeps in registers.
 *
 * @returns 32 bits, unsigned
 */
export function hashOf(bytes: DataView, start: number, end: number): number {
  let v0 = SECRET_0
  let v1 = SECRET_1
  let v2 = 0x6c796765 ^ SECRET_0
  let v3 = 0x74656462 ^ SECRET_1
  const wordsEnd = end - ((end - start) & 3)
  for (let at = start; at < wordsEnd; at += 4) {
    const word = bytes.getInt32(at, true)
    v3 ^= word
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    v0 ^= word
  }
  let last = (end - start) << 24
  for (let at = wordsEnd; at < end; at++) last |= bytes.getUint8(at) << ((at - wordsEnd) * 8)
  v3 ^= last
  // The round of the last word, then three that finish.
  for (let round = 0; round < 4; round++) {
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    if (round > 0) continue
    v0 ^= last
    v2 ^= 0xff
  }
  return (v1 ^ v3) >>> 0
}
