import { expect } from 'chai'
import { gib, mib } from '@mooncake-ts/core'
import { findPinnable, pinnableCapacity } from '../dist/replay/capacity.js'

describe('the memory of a replay over RDMA', () => {
  const unlimited = Infinity

  for (const [availableBytes, lockedBytesMax, nodes, wanted] of [
    [gib(64), unlimited, 2, gib(1)],
    [mib(1200), unlimited, 2, mib(75)],
    [mib(1200), unlimited, 4, mib(37)],
    [gib(64), mib(96), 2, mib(64)],
    [mib(8), mib(1), 2, mib(16)],
  ] as const) {
    it(`is ${wanted / mib(1)} MiB of ${availableBytes / mib(1)} for each of ${nodes}, ${lockedBytesMax / mib(1)} lockable`, () => {
      expect(pinnableCapacity({ availableBytes, lockedBytesMax }, nodes)).to.equal(wanted)
    })
  }

  it('is asked of this machine', () => {
    const { availableBytes, lockedBytesMax } = findPinnable()
    expect(availableBytes).to.be.above(0)
    expect(lockedBytesMax).to.be.above(0)
  })
})
