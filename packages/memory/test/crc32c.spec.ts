import { expect } from 'chai'
import fc from 'fast-check'
import { crc32c } from '@mooncake-ts/memory'

/** Bit by bit, from the definition. */
function naive(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}

describe('crc32c', () => {
  it('gives the values of RFC 3720', () => {
    const ascending = Uint8Array.from({ length: 32 }, (_, index) => index)
    expect(crc32c(new Uint8Array(32))).to.equal(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(0xff))).to.equal(0x62a8ab43)
    expect(crc32c(ascending)).to.equal(0x46dd794e)
    expect(crc32c(ascending.toReversed())).to.equal(0x113fdb5c)
    expect(crc32c(Buffer.from('123456789'))).to.equal(0xe3069283)
    expect(crc32c(new Uint8Array(0))).to.equal(0)
  })

  it('agrees with the definition, at any length and alignment', () => {
    const bytes = fc.uint8Array({ maxLength: 20_000, size: 'max' })
    fc.assert(
      fc.property(bytes, fc.nat(15), (bytes, offset) => {
        const part = bytes.subarray(Math.min(offset, bytes.length))
        expect(crc32c(part)).to.equal(naive(part))
      }),
      { numRuns: 60 },
    )
  })

  it('goes on from a seed', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (first, second) => {
        expect(crc32c(second, crc32c(first))).to.equal(crc32c(Buffer.concat([first, second])))
      }),
    )
  })
})
