import { expect } from 'chai'
import { kib, type TierAllocation } from '@mooncake-ts/core'
import { bytesOf, assertSameBytes } from '../arena.js'
import { randomBytes } from '../../helpers/random.js'
import type { TierFixture } from './fixture.js'

export function spaceTests(fixture: TierFixture): void {
  it('says its name, its kind, its priority and its capacity', () => {
    const { tier, setup } = fixture
    expect(tier.name).to.be.a('string').that.is.not.equal('')
    expect(tier.kind).to.be.a('string').that.is.not.equal('')
    expect(tier.priority).to.satisfy(Number.isFinite)
    expect(tier.tags).to.be.an('array')
    expect(tier.capacityBytes).to.satisfy(Number.isSafeInteger).and.to.be.above(0)
    if (setup.capacityBytes != null) expect(tier.capacityBytes).to.be.at.most(setup.capacityBytes)
  })

  it('sets space aside at once, and counts it', () => {
    const before = fixture.tier.usedBytes
    expect(fixture.allocate(1000).byteLength).to.equal(1000)
    expect(fixture.tier.usedBytes - before).to.be.at.least(1000)
  })

  it('tells allocations apart by their ids', () => {
    const allocations = [0, 1, 100, 100, 0, 1].map(byteLength => fixture.allocate(byteLength))
    expect(new Set(allocations.map(({ id }) => id))).to.have.property('size', allocations.length)
  })

  it('answers undefined when nothing fits, and sets nothing aside then', () => {
    const { tier } = fixture
    const before = tier.usedBytes
    expect(tier.allocate(tier.capacityBytes + 1)).to.equal(undefined)
    expect(tier.usedBytes).to.equal(before)
  })

  it('never sets aside more than its capacity', () => {
    const { tier } = fixture
    const byteLength = Math.ceil(tier.capacityBytes / 100)
    let allocations = 0
    while (tier.allocate(byteLength) != null) expect(++allocations).to.be.at.most(100)
    expect(allocations).to.be.above(0)
    expect(tier.usedBytes).to.be.at.least(allocations * byteLength)
    expect(tier.usedBytes).to.be.at.most(tier.capacityBytes)
  })

  it('has the room again that was freed, when `free` has settled', async () => {
    const { tier } = fixture
    const before = tier.usedBytes
    const byteLength = Math.ceil(tier.capacityBytes / 100)
    for (let round = 0; round < 2; round++) {
      const allocations: TierAllocation[] = []
      for (let a = tier.allocate(byteLength); a != null; a = tier.allocate(byteLength)) allocations.push(a)
      expect(allocations.length).to.be.above(0)
      await Promise.all(allocations.map(async allocation => tier.free(allocation)))
      expect(tier.usedBytes).to.equal(before)
    }
  })

  it('takes nothing for zero bytes, also when it is full', async () => {
    const { tier } = fixture
    while (tier.allocate(kib(512)) != null);
    const before = tier.usedBytes
    const allocation = fixture.allocate(0)
    expect(allocation.byteLength).to.equal(0)
    expect(tier.usedBytes).to.equal(before)
    await tier.free(allocation)
    expect(tier.usedBytes).to.equal(before)
  })

  it('throws a RangeError for what is not a length', () => {
    for (const byteLength of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => fixture.tier.allocate(byteLength), String(byteLength)).to.throw(RangeError)
  })

  it('gives allocations a slice exactly if it supports `directMemory`', () => {
    const { directMemory } = fixture.tier.supports
    expect(fixture.allocate(100).slice != null).to.equal(directMemory)
  })

  it('`directMemory`: the slice of an allocation is its place, and nobody else’s', async function () {
    if (!fixture.tier.supports.directMemory) this.skip()
    const contents = [0, 1, 2].map(seed => randomBytes(999 + seed, seed))
    const allocations = await Promise.all(contents.map(bytes => fixture.put(bytes)))
    for (const [i, { slice }] of allocations.entries()) {
      assertSameBytes(bytesOf(slice!), contents[i]!, 'what a write put into the slice')
      contents[i] = randomBytes(contents[i]!.byteLength, 100 + i)
      bytesOf(slice!).set(contents[i])
    }
    for (const [i, allocation] of allocations.entries()) await fixture.assertHolds(allocation, contents[i]!)
  })
}
