import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { decodeKey, encodeKey, isKey, KEY_BYTES } from '../dist/key.js'

describe('the key of a window', () => {
  it('carries the slot and the token', () => {
    const token = randomBytes(16)
    const key = encodeKey(0xfedcba98, token)
    expect(key.byteLength).to.equal(KEY_BYTES)
    const words = [0, 4, 8, 12].map(at => token.readUInt32LE(at))
    expect(decodeKey(key)).to.deep.include({ slot: 0xfedcba98, token: words })
    expect(decodeKey(Buffer.concat([Buffer.alloc(3), key]).subarray(3))).to.deep.equal(decodeKey(key))
  })

  it('is nothing else', () => {
    const key = encodeKey(1, randomBytes(16))
    expect(isKey(key)).to.equal(true)
    expect(isKey(key.subarray(1))).to.equal(false)
    expect(isKey(new Uint8Array(0))).to.equal(false)
    for (let at = 4; at < 8; at++) {
      expect(isKey(key.map((byte, i) => (i === at ? 1 : byte)))).to.equal(false)
    }
  })
})
