import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { decodeKey, encodeKey, KEY_BYTES } from '../dist/key.js'

describe('the key of a window', () => {
  it('carries the slot and the token', () => {
    const token = randomBytes(16)
    const key = encodeKey(0xfedcba98, token)
    expect(key.byteLength).to.equal(KEY_BYTES)
    const words = [0, 4, 8, 12].map(at => token.readUInt32LE(at))
    expect(decodeKey(key)).to.deep.equal({ slot: 0xfedcba98, token: words })
    expect(decodeKey(Buffer.concat([Buffer.alloc(3), key]).subarray(3))).to.deep.equal(decodeKey(key))
  })

  it('is nothing else', () => {
    const key = encodeKey(1, randomBytes(16))
    expect(decodeKey(key.subarray(1))).to.equal(undefined)
    expect(decodeKey(new Uint8Array(0))).to.equal(undefined)
    expect(decodeKey(key.map((byte, i) => (i === 5 ? 1 : byte)))).to.equal(undefined)
  })
})
