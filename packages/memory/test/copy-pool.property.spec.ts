import { expect } from 'chai'
import fc from 'fast-check'
import { MIB, type CopyOp, type CopyPool, type Region } from '@mooncake-ts/core'
import { crc32c, createCopyPool, createRegion, sliceOf, wrapBuffer } from '@mooncake-ts/memory'

const BYTES = 6 * MIB

interface Step {
  readonly from: number
  readonly gap: number
  readonly byteLength: number
}

const step: fc.Arbitrary<Step> = fc.record({
  from: fc.nat(BYTES),
  gap: fc.nat(5000),
  byteLength: fc.oneof(fc.nat(64), fc.nat(100_000), fc.integer({ min: MIB - 2, max: 3 * MIB })),
})

/** One after another in the target, so that no two copies of a batch overlap. */
function layOut(steps: readonly Step[]): Array<{ from: number; to: number; byteLength: number }> {
  let next = 0
  return steps.map(({ from, gap, byteLength }) => {
    const to = Math.min(next + gap, BYTES)
    const length = Math.min(byteLength, BYTES - to, BYTES - from)
    next = to + length
    return { from, to, byteLength: length }
  })
}

describe('CopyPool, against a model', () => {
  const source = Buffer.from(
    Uint32Array.from({ length: BYTES / 4 }, (_, i) => Math.imul(i, 2654435761)).buffer,
  )
  let from: Region
  let to: Region

  before(() => {
    from = wrapBuffer(source)
    to = createRegion({ byteLength: BYTES })
  })

  after(() => {
    from.close()
    to.close()
  })

  async function agree(pool: CopyPool, steps: readonly Step[]): Promise<void> {
    const plan = layOut(steps)
    const model = Buffer.alloc(BYTES)
    for (const { from, to, byteLength } of plan) source.copy(model, to, from, from + byteLength)
    const target = to.view(0, BYTES).fill(0)
    const batch: CopyOp[] = plan.map(op => ({
      from: sliceOf(from, op.from, op.byteLength),
      to: sliceOf(to, op.to, op.byteLength),
    }))
    await pool.copy(batch)
    expect(Buffer.compare(target, model)).to.equal(0)
    const sums = await pool.checksum(batch.map(op => op.to))
    expect([...sums]).to.deep.equal(plan.map(op => crc32c(model.subarray(op.to, op.to + op.byteLength))))
  }

  for (const threads of [1, 4]) {
    it(`moves what Buffer.copy moves, with ${threads} threads`, async () => {
      const pool = createCopyPool({ threads, inlineBytesMax: 0 })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), steps => agree(pool, steps)),
        { numRuns: 40 },
      )
      await pool.close()
    })
  }

  it('moves what Buffer.copy moves, on this thread', async () => {
    const pool = createCopyPool({ threads: 1, inlineBytesMax: Number.MAX_SAFE_INTEGER })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), steps => agree(pool, steps)),
      { numRuns: 20 },
    )
    await pool.close()
  })
})
