import type { CopyPool, Slice } from '@mooncake-ts/core'

/** Reflected polynomial of CRC-32C (Castagnoli), RFC 3720 appendix B.4. */
const POLYNOMIAL = 0x82f63b78

/** CRC-32C of several slices as if they were one. */
export async function checksumOf(pool: CopyPool, parts: readonly Slice[]): Promise<number> {
  return (await checksumsOf(pool, [parts]))[0]!
}

/** The same for each of many, as one batch: when it fails, nobody reads any of them any more (I3). */
export async function checksumsOf(
  pool: CopyPool,
  payloads: ReadonlyArray<readonly Slice[]>,
): Promise<number[]> {
  const checksums = await pool.checksum(payloads.flat())
  let next = 0
  return payloads.map(parts =>
    parts.reduce((whole, { byteLength }) => combine(whole, checksums[next++]!, byteLength), 0),
  )
}

/**
 * CRC of A followed by B from those of A and B: the register of A is moved over |B| zero bytes, which is a
 * linear map of 32 bits and so a power of a matrix over GF(2). O(log |B|).
 */
export function combine(first: number, second: number, secondBytes: number): number {
  if (secondBytes === 0) return first
  let power = squared(squared(squared(oneZeroBit()))) // The map for eight zero bits.
  let register = first
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) register = apply(power, register)
    if (left > 1) power = squared(power)
  }
  return (register ^ second) >>> 0
}

function oneZeroBit(): Uint32Array {
  const matrix = new Uint32Array(32)
  matrix[0] = POLYNOMIAL
  for (let bit = 1; bit < 32; bit++) matrix[bit] = 2 ** (bit - 1)
  return matrix
}

function apply(matrix: Uint32Array, vector: number): number {
  let sum = 0
  for (let bit = 0, rest = vector >>> 0; rest !== 0; bit++, rest >>>= 1) {
    if ((rest & 1) === 1) sum ^= matrix[bit]!
  }
  return sum >>> 0
}

function squared(matrix: Uint32Array): Uint32Array {
  return matrix.map(column => apply(matrix, column))
}
