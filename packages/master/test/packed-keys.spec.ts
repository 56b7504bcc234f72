import { expect } from 'chai'
import fc from 'fast-check'
import { BATCH_KEYS_MAX, KEY_BYTES_MAX } from '../dist/limits.js'
import { packKeys, unpackLengths } from '../dist/packed-keys.js'

describe('Packed keys', () => {
  it('are the UTF-8 of the keys, one after another', () => {
    const key = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.string({ minLength: 1, unit: 'grapheme' }),
      fc.constant('é'.repeat(KEY_BYTES_MAX / 2)),
    )
    fc.assert(
      fc.property(fc.array(key, { maxLength: 20 }), keys => {
        const packed = packKeys(keys)
        let at = 0
        const unpacked = Array.from(unpackLengths(packed), length => {
          at += length
          return Buffer.from(packed.bytes).toString('utf8', at - length, at)
        })
        expect(unpacked).to.deep.equal(keys)
      }),
    )
  })

  it('are refused where lengths and bytes do not fit', () => {
    const bytes = Buffer.from('abcd')
    const refused: ReadonlyArray<readonly number[]> = [
      [3, 0],
      [5, 0],
      [0, 0, 4, 0],
      [4],
      [4, 0, 0],
      [],
      [4, 1],
      [255, 255, 5, 0],
    ]
    for (const lengths of refused) {
      const packed = { bytes, lengths: Uint8Array.from(lengths) }
      expect(() => unpackLengths(packed), lengths.join())
        .to.throw()
        .with.property('code', 'ERR_INVALID_PARAMS')
    }
    const long = { bytes: Buffer.alloc(KEY_BYTES_MAX + 1, 'k'), lengths: Uint8Array.from([0x01, 0x30]) }
    expect(() => unpackLengths(long))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
  })

  it('of a key beyond 16 bits are not taken for another', () => {
    expect(() => unpackLengths(packKeys(['k'.repeat(65_536 + 1)]))).to.throw()
    expect(unpackLengths(packKeys(Array<string>(BATCH_KEYS_MAX).fill('k')))).to.have.length(BATCH_KEYS_MAX)
  })
})
