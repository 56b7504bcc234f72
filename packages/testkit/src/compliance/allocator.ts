import { expect } from 'chai'
import { mib, type Allocated, type Allocator } from '@mooncake-ts/core'
import { randomUint32 } from '../helpers/random.js'
import { rejectsWith } from '../helpers/rejects-with.js'

export interface AllocatorSetup {
  /** An empty allocator, for 64 KiB and more. Its capacity may be a little less, where it rounds. */
  create(capacityBytes: number): Allocator
}

const CAPACITY_BYTES = mib(1)
/** For the test of speed: so many steps are quick for O(1), and hopeless for O(n). */
const PIECES = 50_000
const DEADLINE_MS = 3_000

/**
 * Every promise that the Allocator contract makes, as tests.
 *
 * @example
 * allocatorCompliance('OFFSET', { create: capacityBytes => new OffsetAllocator({ capacityBytes }) })
 */
export function allocatorCompliance(name: string, setup: AllocatorSetup): void {
  describe(`${name} keeps the Allocator contract`, () => {
    let allocator: Allocator
    beforeEach(() => {
      allocator = setup.create(CAPACITY_BYTES)
    })
    const current = (): Allocator => allocator

    pieceTests(current)
    freeTests(current, setup)
    loadTests(current, setup)
  })
}

function pieceTests(allocator: () => Allocator): void {
  it('is empty in the beginning', () => {
    const { capacityBytes, usedBytes, count, largestFreeBytes } = allocator()
    expect({ usedBytes, count }).to.deep.equal({ usedBytes: 0, count: 0 })
    expect(capacityBytes).to.be.within(CAPACITY_BYTES * 0.9, CAPACITY_BYTES)
    expect(largestFreeBytes).to.be.within(1, capacityBytes)
  })

  it('says the length that was asked for, and counts at least that', () => {
    let askedBytes = 0
    for (const byteLength of [1, 63, 64, 65, 4096, 100_001]) {
      expect(allocator().allocate(byteLength)).to.have.property('byteLength', byteLength)
      askedBytes += byteLength
      expect(allocator().usedBytes).to.be.within(askedBytes, allocator().capacityBytes)
    }
    expect(allocator().count).to.equal(6)
  })

  it('answers undefined when nothing fits, and changes nothing then', () => {
    allocator().allocate(1000)
    const { usedBytes, count, capacityBytes, largestFreeBytes } = allocator()
    for (const byteLength of [capacityBytes + 1, largestFreeBytes + 1, 2 ** 52, Number.MAX_SAFE_INTEGER])
      expect(allocator().allocate(byteLength), String(byteLength)).to.equal(undefined)
    expect(allocator()).to.include({ usedBytes, count, largestFreeBytes })
  })

  it('throws a RangeError for a length that is not a positive safe integer', () => {
    for (const byteLength of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => allocator().allocate(byteLength), String(byteLength)).to.throw(RangeError)
    expect(allocator()).to.include({ usedBytes: 0, count: 0 })
  })

  it('fills up with pieces that lie inside, and do not overlap', () => {
    const pieces = fill(allocator(), 1000)
    expect(pieces.length).to.be.above(0)
    assertApart(pieces, allocator().capacityBytes)
    expect(allocator()).to.include({ count: pieces.length })
    expect(allocator().allocate(1000)).to.equal(undefined)
  })
}

function freeTests(allocator: () => Allocator, setup: AllocatorSetup): void {
  it('has everything again when everything was freed, in any order', () => {
    const { largestFreeBytes } = allocator()
    for (const order of ['first to last', 'last to first', 'shuffled'] as const) {
      const pieces = fill(allocator(), 777)
      if (order === 'last to first') pieces.reverse()
      if (order === 'shuffled') shuffle(pieces, 1)
      for (const piece of pieces) allocator().free(piece)
      expect(allocator(), order).to.include({ usedBytes: 0, count: 0, largestFreeBytes })
    }
  })

  it('rejects a piece that was freed before, also when its place is taken again', async () => {
    const piece = allocator().allocate(100)!
    allocator().free(piece)
    await rejectsWith(() => allocator().free(piece), 'ERR_INVALID_PARAMS')
    const again = allocator().allocate(100)!
    await rejectsWith(() => allocator().free(piece), 'ERR_INVALID_PARAMS')
    expect(allocator().count).to.equal(1)
    allocator().free(again)
  })

  it('rejects pieces that it never gave', async () => {
    const foreign = setup.create(CAPACITY_BYTES).allocate(100)!
    const held = allocator().allocate(5000)!
    const changed = { ...held, id: held.id + 1 }
    const nonsense = [-1, 0.5, Number.NaN, 2 ** 40].map(id => ({ ...held, id }))
    for (const piece of [foreign, changed, ...nonsense])
      await rejectsWith(() => allocator().free(piece), 'ERR_INVALID_PARAMS')
    expect(allocator().count).to.equal(1)
    allocator().free(held)
    expect(allocator().usedBytes).to.equal(0)
  })

  it('knows the largest request that would succeed, at all times', () => {
    const held: Allocated[] = []
    const next = randomUint32(2)
    for (let step = 0; step < 1000; step++) {
      if (next() % 100 < 45 && held.length > 0) allocator().free(held.splice(next() % held.length, 1)[0]!)
      else hold(held, allocator().allocate(1 + (next() % 20_000)))
      const { largestFreeBytes } = allocator()
      expect(allocator().allocate(largestFreeBytes + 1), `step ${step}, one more`).to.equal(undefined)
      if (largestFreeBytes === 0) continue
      const largest = allocator().allocate(largestFreeBytes)
      expect(largest, `step ${step}, ${largestFreeBytes} bytes`).to.not.equal(undefined)
      allocator().free(largest!)
    }
  })
}

function loadTests(allocator: () => Allocator, setup: AllocatorSetup): void {
  it('keeps pieces apart while others come and go', () => {
    const held: Allocated[] = []
    const next = randomUint32(3)
    for (let step = 0; step < 20_000; step++) {
      if (next() % 100 < 48 && held.length > 0) allocator().free(held.splice(next() % held.length, 1)[0]!)
      else hold(held, allocator().allocate(1 + (next() % 8000)))
      if (step % 500 === 0) assertApart(held, allocator().capacityBytes)
    }
    expect(allocator().count).to.equal(held.length)
    for (const piece of held) allocator().free(piece)
    expect(allocator()).to.include({ usedBytes: 0, count: 0 })
  })

  // Where each step looked at each piece, this would take minutes.
  it('takes the same time however many pieces there are', function () {
    this.timeout(2 * DEADLINE_MS)
    const begun = performance.now()
    const large = setup.create(mib(128))
    const held: Allocated[] = []
    const next = randomUint32(4)
    for (let step = 0; step < 3 * PIECES; step++) {
      if (performance.now() - begun > DEADLINE_MS) throw new Error(`Only ${step} steps in ${DEADLINE_MS} ms`)
      const at = step < PIECES ? step : next() % PIECES
      if (step >= PIECES) large.free(held[at]!)
      held[at] = large.allocate(1000 + (next() % 1000))!
    }
    expect(large.count).to.equal(PIECES)
  })
}

function hold(held: Allocated[], piece: Allocated | undefined): void {
  if (piece != null) held.push(piece)
}

function fill(allocator: Allocator, byteLength: number): Allocated[] {
  const pieces: Allocated[] = []
  for (let piece = allocator.allocate(byteLength); piece != null; piece = allocator.allocate(byteLength))
    pieces.push(piece)
  return pieces
}

function shuffle(pieces: Allocated[], seed: number): void {
  const next = randomUint32(seed)
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = next() % (i + 1)
    ;[pieces[i], pieces[j]] = [pieces[j]!, pieces[i]!]
  }
}

function assertApart(pieces: readonly Allocated[], capacityBytes: number): void {
  let endBytes = 0
  for (const { offset, byteLength } of pieces.toSorted((a, b) => a.offset - b.offset)) {
    if (!(offset >= endBytes)) throw new Error(`The piece at ${offset} overlaps one that ends at ${endBytes}`)
    endBytes = offset + byteLength
  }
  expect(endBytes).to.be.at.most(capacityBytes)
}
