import { expect } from 'chai'
import { isErrorCode, kib, mib, type Completion, type TierAllocation } from '@mooncake-ts/core'
import { randomBytes, randomUint32 } from '../../helpers/random.js'
import { collect } from '../../helpers/watch.js'
import {
  assertSameBytes,
  copyOf,
  isFilledWith,
  bytesOf,
  isUntouchedAround,
  neverAborted,
  partOf,
} from '../arena.js'
import type { TierFixture } from './fixture.js'

const options = { signal: neverAborted }

export function bytesTests(fixture: TierFixture): void {
  for (const byteLength of [1, 63, 4096, 100_001]) {
    it(`gives back the bytes that were written: ${byteLength}`, async () => {
      const bytes = randomBytes(byteLength, byteLength)
      await fixture.assertHolds(await fixture.put(bytes), bytes)
    })
  }

  it('writes and reads objects of zero bytes', async () => {
    const { tier, arena } = fixture
    const allocation = fixture.allocate(0)
    expect(await collect(tier.write([{ allocation, from: arena.blank(0) }], options))).to.deep.equal([
      { index: 0, bytes: 0 },
    ])
    const read = [{ allocation, offset: 0, into: arena.blank(0) }]
    expect(await collect(tier.read(read, options))).to.deep.equal([{ index: 0, bytes: 0 }])
  })

  it('completes an empty batch', async () => {
    expect(await collect(fixture.tier.write([], options))).to.deep.equal([])
    expect(await collect(fixture.tier.read([], options))).to.deep.equal([])
  })

  it('writes nothing outside of the slice that it fills', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(5000, 1)
    const allocation = await fixture.put(bytes)
    const into = arena.blank(5000)
    await collect(tier.read([{ allocation, offset: 0, into }], options))
    assertSameBytes(copyOf(into), bytes)
    expect(isUntouchedAround(into)).to.equal(true)
  })

  it('`partialRead`: reads from any byte to any byte', async function () {
    const { tier, arena } = fixture
    if (!tier.supports.partialRead) this.skip()
    const bytes = randomBytes(10_000, 2)
    const allocation = await fixture.put(bytes)
    for (const [offset, byteLength] of [
      [0, 1],
      [1, 4095],
      [4097, 5000],
      [9_999, 1],
      [10_000, 0],
      [0, 0],
    ] as const) {
      const into = arena.blank(byteLength)
      const [completion] = await collect(tier.read([{ allocation, offset, into }], options))
      expect(completion).to.deep.equal({ index: 0, bytes: byteLength })
      assertSameBytes(copyOf(into), bytes.subarray(offset, offset + byteLength), `from ${offset}`)
    }
  })

  it('completes every operation of a batch once, in any order, with its own bytes', async () => {
    await assertRoundTrip(fixture, 200, i => (i % 7 === 0 ? 0 : 1 + ((i * 997) % 9000)))
  })

  it('takes a batch of 2,000 small objects', async function () {
    this.timeout(60_000)
    await assertRoundTrip(fixture, 2000, i => 1 + (i % 300))
  })

  it('takes an object of 4 MiB', async () => {
    const bytes = randomBytes(mib(4), 3)
    await fixture.assertHolds(await fixture.put(bytes), bytes)
  })

  it('runs many batches at the same time', async () => {
    await Promise.all(Array.from({ length: 16 }, () => assertRoundTrip(fixture, 16, i => 100 + i * 31)))
  })

  it('reads one object many times at once', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(kib(16), 4)
    const allocation = await fixture.put(bytes)
    const batch = Array.from({ length: 32 }, () => ({ allocation, offset: 0, into: arena.blank(kib(16)) }))
    await collect(tier.read(batch, options))
    for (const { into } of batch) assertSameBytes(copyOf(into), bytes)
  })

  it('keeps objects apart while others come and go', async function () {
    this.timeout(30_000)
    const held: Array<{ readonly allocation: TierAllocation; readonly bytes: Uint8Array }> = []
    const next = randomUint32(5)
    for (let step = 0; step < 300; step++) {
      if (held.length > 20 || (held.length > 0 && next() % 3 === 0)) {
        const [{ allocation, bytes }] = held.splice(next() % held.length, 1) as [(typeof held)[0]]
        await fixture.assertHolds(allocation, bytes)
        await fixture.tier.free(allocation)
      } else {
        const bytes = randomBytes(next() % 20_000, step)
        held.push({ allocation: await fixture.put(bytes), bytes })
      }
    }
    for (const { allocation, bytes } of held) await fixture.assertHolds(allocation, bytes)
  })

  failureTests(fixture)
}

function failureTests(fixture: TierFixture): void {
  it('refuses, as a completion, to read past the end of an object', async () => {
    const { tier, arena } = fixture
    const allocation = await fixture.put(randomBytes(100, 6))
    const ranges = [
      [0, 101],
      [100, 1],
      [1, 100],
      [-1, 1],
      [0.5, 1],
      [101, 0],
      [Number.NaN, 1],
    ] as const
    const batch = ranges.map(([offset, byteLength]) => ({
      allocation,
      offset,
      into: arena.blank(byteLength),
    }))
    for (const completion of await collect(tier.read(batch, options))) assertRefused(completion)
    for (const { into } of batch) expect(isFilledWith(bytesOf(into), 0)).to.equal(true)
  })

  it('refuses, as a completion, to write more than an allocation has room for', async () => {
    const { tier, arena } = fixture
    const neighbours = [randomBytes(64, 7), randomBytes(64, 8), randomBytes(64, 9)]
    const allocations: TierAllocation[] = []
    for (const bytes of neighbours) allocations.push(await fixture.put(bytes))
    const from = arena.holding(new Uint8Array(65).fill(255))
    const [completion] = await collect(tier.write([{ allocation: allocations[1]!, from }], options))
    assertRefused(completion)
    for (const [i, bytes] of neighbours.entries()) await fixture.assertHolds(allocations[i]!, bytes)
  })

  it('refuses, as a completion, slices that leave their region or whose region is closed', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(10, 10)
    const allocation = await fixture.put(bytes)
    const open = arena.blank(10)
    const closed = arena.blank(10)
    closed.region.close()
    const slices = [{ ...open, offset: open.region.byteLength - 9 }, { ...open, offset: -1 }, closed]
    const reads = slices.map(into => ({ allocation, offset: 0, into }))
    const writes = slices.map(from => ({ allocation, from }))
    for (const stream of [tier.read(reads, options), tier.write(writes, options)]) {
      const codes = (await collect(stream)).map(({ error }) => (error as { code?: string } | undefined)?.code)
      expect(codes).to.deep.equal(['ERR_SLICE_OUT_OF_BOUNDS', 'ERR_SLICE_OUT_OF_BOUNDS', 'ERR_REGION_CLOSED'])
    }
    await fixture.assertHolds(allocation, bytes)
  })

  it('an operation that fails leaves the others of its batch alone', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(100, 11)
    const allocation = await fixture.put(bytes)
    const lengths = [100, 101, 100, 101]
    const batch = lengths.map(byteLength => ({ allocation, offset: 0, into: arena.blank(byteLength) }))
    const completions = await collect(tier.read(batch, options))
    expect(completions.map(completion => completion.bytes)).to.deep.equal([100, 0, 100, 0])
    expect(completions.map(({ error }) => error != null)).to.deep.equal([false, true, false, true])
    assertSameBytes(copyOf(batch[2]!.into), bytes)
  })
}

/** Writes objects out of one region as one batch, and reads them into another, in the reverse order. */
async function assertRoundTrip(
  fixture: TierFixture,
  count: number,
  lengthOf: (index: number) => number,
): Promise<void> {
  const { tier, arena } = fixture
  const lengths = Array.from({ length: count }, (_, i) => lengthOf(i))
  const wholeBytes = lengths.reduce((sum, byteLength) => sum + byteLength, 0)
  const source = arena.holding(randomBytes(wholeBytes, count))
  const target = arena.blank(wholeBytes)
  let offset = 0
  const places = lengths.map(byteLength => ({ offset: (offset += byteLength) - byteLength, byteLength }))
  const writes = places.map(place => ({
    allocation: fixture.allocate(place.byteLength),
    from: partOf(source, place.offset, place.byteLength),
  }))
  const expected = places.map(({ byteLength }, index) => ({ index, bytes: byteLength }))
  expect(await collect(tier.write(writes, options))).to.deep.equal(expected)
  const reads = places
    .map((place, i) => ({
      allocation: writes[i]!.allocation,
      offset: 0,
      into: partOf(target, place.offset, place.byteLength),
    }))
    .reverse()
  const completions = await collect(tier.read(reads, options))
  expect(completions.map(({ bytes }) => bytes)).to.deep.equal(lengths.toReversed())
  assertSameBytes(bytesOf(target), bytesOf(source))
}

function assertRefused(completion: Completion | undefined): void {
  expect(completion, 'the completion').to.not.equal(undefined)
  expect(completion!.bytes).to.equal(0)
  expect((completion!.error as { code?: unknown } | undefined)?.code).to.satisfy(isErrorCode)
}
