import { expect } from 'chai'
import fc from 'fast-check'
import { gib, kib, mib, tib, type Allocated } from '@mooncake-ts/core'
import { randomUint32, rejectsWith } from '@mooncake-ts/testkit'
import { OffsetAllocator } from '@mooncake-ts/tier-dram'

/** What a person would write: the blocks in order, free or held, and free neighbours joined. */
class Model {
  readonly held: Allocated[] = []
  readonly #capacityBytes: number
  readonly #alignmentBytes: number

  constructor(capacityBytes: number, alignmentBytes: number) {
    this.#capacityBytes = capacityBytes
    this.#alignmentBytes = alignmentBytes
  }

  roundedBytes({ byteLength }: Allocated): number {
    return Math.ceil(byteLength / this.#alignmentBytes) * this.#alignmentBytes
  }

  get usedBytes(): number {
    return this.held.reduce((sum, piece) => sum + this.roundedBytes(piece), 0)
  }

  allocateBestFit(byteLength: number): Allocated | undefined {
    const wantedBytes = this.roundedBytes({ id: 0, offset: 0, byteLength })
    const gaps = this.gaps().filter(gap => gap.byteLength >= wantedBytes)
    const [best] = gaps.sort((a, b) => a.byteLength - b.byteLength)
    if (best == null) return undefined
    const piece = { id: 0, offset: best.offset, byteLength }
    this.held.push(piece)
    return piece
  }

  /** What lies before, between and after the pieces; finding them checks that nothing overlaps. */
  gaps(): Array<{ readonly offset: number; readonly byteLength: number }> {
    let endBytes = 0
    const gaps = []
    for (const piece of this.held.toSorted((a, b) => a.offset - b.offset)) {
      if (piece.offset % this.#alignmentBytes !== 0 || piece.offset < endBytes)
        throw new Error(
          `The piece at ${piece.offset} is not aligned, or overlaps one that ends at ${endBytes}`,
        )
      gaps.push({ offset: endBytes, byteLength: piece.offset - endBytes })
      endBytes = piece.offset + this.roundedBytes(piece)
    }
    if (endBytes > this.#capacityBytes) throw new Error('The last piece leaves the range')
    return [...gaps, { offset: endBytes, byteLength: this.#capacityBytes - endBytes }]
  }

  get largestGapBytes(): number {
    return Math.max(...this.gaps().map(({ byteLength }) => byteLength))
  }

  get freeBytes(): number {
    return this.gaps().reduce((sum, { byteLength }) => sum + byteLength, 0)
  }
}

interface Placement {
  allocate(byteLength: number): Allocated | undefined
  free(piece: Allocated): void
}

/** How full a range is on average when a value does not fit, while values of 1 to 64 KiB come and go. */
function meanUtilization(capacityBytes: number, { allocate, free }: Placement): number {
  const next = randomUint32(1)
  const held: Allocated[] = []
  let usedBytes = 0
  const seen: number[] = []
  for (let step = 0; step < 8000; step++) {
    const piece = allocate(kib(1) + (next() % kib(63)))
    if (piece != null) {
      held.push(piece)
      usedBytes += piece.byteLength
    } else {
      seen.push(usedBytes / capacityBytes)
      const [freed] = held.splice(next() % held.length, 1)
      usedBytes -= freed!.byteLength
      free(freed!)
    }
  }
  return seen.reduce((sum, utilization) => sum + utilization) / seen.length
}

const steps = fc.array(
  fc.oneof(
    fc.record({ allocate: fc.integer({ min: 1, max: 5000 }) }),
    fc.record({ allocate: fc.integer({ min: 1, max: 100 }) }),
    fc.record({ free: fc.nat() }),
  ),
  { minLength: 100, maxLength: 500, size: 'max' },
)

describe('OffsetAllocator', () => {
  it('loses nothing and overlaps nothing, whatever is allocated and freed', () => {
    const run = (script: ReadonlyArray<{ allocate?: number; free?: number }>, shift: number): void => {
      const alignmentBytes = 2 ** shift
      const allocator = new OffsetAllocator({ capacityBytes: kib(32) + 100, alignmentBytes })
      const model = new Model(allocator.capacityBytes, alignmentBytes)
      for (const { allocate, free } of script) {
        if (allocate != null) {
          const piece = allocator.allocate(allocate)
          // A gap that is larger by a bin is always found; one of the same bin nearly always.
          if (piece != null) model.held.push(piece)
          else expect(model.largestGapBytes).to.be.below(Math.ceil((allocate + alignmentBytes) * 1.04))
        } else if (model.held.length > 0) {
          allocator.free(model.held.splice(free! % model.held.length, 1)[0]!)
        }
        expect(allocator.usedBytes).to.equal(model.usedBytes)
        expect(allocator.count).to.equal(model.held.length)
      }
      expect(allocator.usedBytes + model.freeBytes).to.equal(allocator.capacityBytes)
      for (const piece of model.held) allocator.free(piece)
      expect(allocator.largestFreeBytes).to.equal(allocator.capacityBytes)
      expect(allocator.allocate(allocator.capacityBytes)).to.include({ offset: 0 })
    }
    fc.assert(fc.property(steps, fc.integer({ min: 0, max: 9 }), run), { numRuns: 60 })
  })

  it('joins a freed piece with both neighbours at once', () => {
    const allocator = new OffsetAllocator({ capacityBytes: 64 * 5 })
    const pieces = Array.from({ length: 5 }, () => allocator.allocate(64)!)
    const largestAfter = (index: number): number => {
      allocator.free(pieces[index]!)
      return allocator.largestFreeBytes / 64
    }
    expect([1, 3, 2, 0, 4].map(largestAfter)).to.deep.equal([1, 1, 3, 4, 5])
  })

  it('takes its space to the last byte, also where the capacity is no power of two', () => {
    for (const capacityBytes of [64, 1000, mib(1) + 64 * 7, gib(3) + 64, tib(1) - 64]) {
      const allocator = new OffsetAllocator({ capacityBytes })
      expect(allocator.capacityBytes).to.equal(capacityBytes - (capacityBytes % allocator.alignmentBytes))
      const whole = allocator.allocate(allocator.capacityBytes)!
      expect(allocator.largestFreeBytes).to.equal(0)
      expect(allocator.allocate(1)).to.equal(undefined)
      allocator.free(whole)
      expect(allocator.largestFreeBytes).to.equal(allocator.capacityBytes)
    }
  })

  it('widens the alignment where the capacity has more units than it can count', () => {
    const alignments = [gib(256) - 64, gib(256), tib(1), tib(64)].map(
      capacityBytes => new OffsetAllocator({ capacityBytes }).alignmentBytes,
    )
    expect(alignments).to.deep.equal([64, 128, 512, 32_768])
    const huge = new OffsetAllocator({ capacityBytes: tib(64) })
    const pieces = [huge.allocate(tib(30))!, huge.allocate(tib(33))!]
    expect(pieces.map(({ offset }) => offset)).to.deep.equal([0, tib(30)])
    expect(huge.largestFreeBytes).to.be.within(tib(1) - 32_768, tib(1))
  })

  it('refuses options that make no sense', async () => {
    const wrong = [
      { capacityBytes: 63 },
      { capacityBytes: -1 },
      { capacityBytes: Number.NaN },
      { capacityBytes: 1000.5 },
      { capacityBytes: 2 ** 53 },
      ...[0, 3, -64, 0.5, Number.NaN, 100].map(alignmentBytes => ({ capacityBytes: 1000, alignmentBytes })),
    ]
    for (const options of wrong) await rejectsWith(() => new OffsetAllocator(options), 'ERR_INVALID_PARAMS')
  })

  it('wastes little more than an allocator that looks for the best gap of all', () => {
    const capacityBytes = mib(4)
    const allocator = new OffsetAllocator({ capacityBytes })
    const best = new Model(allocator.capacityBytes, allocator.alignmentBytes)
    const ours = meanUtilization(capacityBytes, {
      allocate: byteLength => allocator.allocate(byteLength),
      free: piece => allocator.free(piece),
    })
    const theirs = meanUtilization(capacityBytes, {
      allocate: byteLength => best.allocateBestFit(byteLength),
      free: piece => void best.held.splice(best.held.indexOf(piece), 1),
    })
    expect(theirs).to.be.above(0.8)
    expect(ours).to.be.above(theirs - 0.03)
  })

  it('knows a piece of an earlier life of the same place, after a million lives', async () => {
    const allocator = new OffsetAllocator({ capacityBytes: 64 })
    const first = allocator.allocate(64)!
    let last = first
    for (let life = 0; life < 1_000_000; life++) {
      allocator.free(last)
      last = allocator.allocate(64)!
    }
    await rejectsWith(() => allocator.free(first), 'ERR_INVALID_PARAMS')
    allocator.free(last)
    expect(allocator.usedBytes).to.equal(0)
  })
})

describe('OffsetAllocator.hold', () => {
  it('takes places of an earlier life, and leaves the gaps to others', () => {
    const allocator = new OffsetAllocator({ capacityBytes: 800, alignmentBytes: 8 })
    const first = allocator.hold(0, 76)
    const second = allocator.hold(80, 8)
    const third = allocator.hold(400, 400)
    expect(allocator.usedBytes).to.equal(488)
    expect(allocator.largestFreeBytes).to.equal(312)
    expect(allocator.allocate(313)).to.equal(undefined)
    expect(allocator.allocate(312)?.offset).to.equal(88)
    expect(allocator.allocate(1)).to.equal(undefined)
    for (const piece of [second, first, third]) allocator.free(piece)
    expect(allocator.largestFreeBytes).to.equal(400)
  })

  it('refuses places that cannot be had, and to come late', async () => {
    const allocator = new OffsetAllocator({ capacityBytes: 80, alignmentBytes: 8 })
    allocator.hold(8, 8)
    for (const [offset, byteLength] of [
      [0, 5],
      [8, 8],
      [20, 8],
      [16, 0],
      [72, 9],
    ] as const)
      await rejectsWith(() => allocator.hold(offset, byteLength), 'ERR_INVALID_PARAMS')
    allocator.hold(72, 8)
    await rejectsWith(() => allocator.hold(80, 1), 'ERR_INVALID_PARAMS')
    const late = new OffsetAllocator({ capacityBytes: 80, alignmentBytes: 8 })
    late.free(late.allocate(8)!)
    await rejectsWith(() => late.hold(48, 8), 'ERR_INVALID_PARAMS')
  })
})
