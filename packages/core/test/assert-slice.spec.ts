import { expect } from 'chai'
import { assertSlice, isInside, type Region } from '@mooncake-ts/core'
import { failure } from './support.js'

describe('isInside', () => {
  it('accepts every range within, also an empty one at the end', () => {
    for (const [offset, byteLength] of [
      [0, 10],
      [0, 0],
      [10, 0],
      [9, 1],
    ] as const) {
      expect(isInside(offset, byteLength, 10)).to.equal(true)
    }
  })

  it('refuses what leaves the bound, also where a sum would overflow, and what is no safe integer', () => {
    for (const [offset, byteLength] of [
      [0, 11],
      [10, 1],
      [11, 0],
      [-1, 1],
      [1, -1],
      [0.5, 1],
      [Number.NaN, 1],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      [0, Number.POSITIVE_INFINITY],
    ] as const) {
      expect(isInside(offset, byteLength, 10), `${offset} ${byteLength}`).to.equal(false)
    }
  })
})

describe('assertSlice', () => {
  const region = { id: 3, byteLength: 10, closed: false } as Region

  it('passes what is inside of an open region', () => assertSlice({ region, offset: 2, byteLength: 8 }))

  it('tells a closed region from a range outside', async () => {
    const outside = await failure(() => assertSlice({ region, offset: 2, byteLength: 9 }))
    expect(outside.code).to.equal('ERR_SLICE_OUT_OF_BOUNDS')
    const closed = { ...region, closed: true }
    const error = await failure(() => assertSlice({ region: closed, offset: 0, byteLength: 1 }))
    expect(error.code).to.equal('ERR_REGION_CLOSED')
  })
})
