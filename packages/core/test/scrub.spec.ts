import { expect } from 'chai'
import { MIB, scrub, type Region } from '@mooncake-ts/core'

describe('scrub', () => {
  /** A region of ones, that shows no more than a part of itself at a time. */
  function regionOf(byteLength: number) {
    const bytes = Buffer.alloc(byteLength, 1)
    let viewedMax = 0
    const view = (offset: number, viewed: number): Buffer => {
      viewedMax = Math.max(viewedMax, viewed)
      return bytes.subarray(offset, offset + viewed)
    }
    const region = { byteLength, closed: false, view }
    return {
      region: region as unknown as Region,
      bytes,
      close: () => (region.closed = true),
      max: () => viewedMax,
    }
  }

  const isZero = (bytes: Buffer): boolean => bytes.equals(Buffer.alloc(bytes.length))

  it('leaves nothing of the slice and all around it, at once where that is little', () => {
    const { region, bytes } = regionOf(100)
    let done = 0
    scrub({ region, offset: 10, byteLength: 80 }, () => done++)
    expect(done).to.equal(1)
    expect([bytes[9], bytes[10], bytes[89], bytes[90]]).to.deep.equal([1, 0, 0, 1])
  })

  it('goes through much in parts, while the event loop turns', async () => {
    const { region, bytes, max } = regionOf(40 * MIB)
    let turns = 0
    setImmediate(() => turns++)
    await new Promise<void>(resolve => {
      scrub({ region, offset: 1, byteLength: 40 * MIB - 2 }, resolve)
      expect(isZero(bytes)).to.equal(false)
    })
    expect([bytes[0], bytes.at(-1), isZero(bytes.subarray(1, -1))]).to.deep.equal([1, 1, true])
    expect(turns).to.equal(1)
    expect(max()).to.be.at.most(16 * MIB)
  })

  it('ends where the region is closed meanwhile', async () => {
    const { region, bytes, close } = regionOf(40 * MIB)
    await new Promise<void>(resolve => {
      scrub({ region, offset: 0, byteLength: 40 * MIB }, resolve)
      close()
    })
    expect(bytes.at(-1)).to.equal(1)
  })
})
