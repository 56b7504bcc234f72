import { createMemory, type Memory } from '@mooncake-ts/memory'
import { expect } from 'chai'
import fc from 'fast-check'
import { StagingPool } from '../../dist/local/staging-pool.js'
import { codeOf, NEVER, settled } from './support/harness.js'

const BLOCK = 4096

describe('StagingPool', () => {
  let memory: Memory
  before(() => {
    memory = createMemory({ copyThreads: 1 })
  })
  after(() => memory.close())

  it('lends aligned pieces that never overlap, and has all of them back in the end', async () => {
    const step = fc.record({
      take: fc.boolean(),
      pick: fc.nat(),
      byteLength: fc.integer({ min: 0, max: 6 * BLOCK }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const pool = new StagingPool(memory, 16 * BLOCK)
        const lent: Array<{ slice: { offset: number; byteLength: number }; release: () => void }> = []
        for (const { take, pick, byteLength } of steps) {
          const piece = take ? pool.tryAcquire(byteLength) : undefined
          if (piece != null) {
            const { offset } = piece.slice
            expect(offset % BLOCK).to.equal(0)
            expect(offset + byteLength).to.be.at.most(pool.capacityBytes)
            for (const { slice } of lent) {
              expect(
                offset >= slice.offset + slice.byteLength || slice.offset >= offset + byteLength,
              ).to.equal(true)
            }
            lent.push(piece)
          } else if (lent.length > 0) lent.splice(pick % lent.length, 1)[0]!.release()
        }
        for (const { release } of lent) release()
        expect(pool.tryAcquire(pool.capacityBytes), 'the whole pool').to.not.equal(undefined)
      }),
      { numRuns: 50 },
    )
  })

  it('serves those who wait in their order, and lets nobody overtake', async () => {
    const pool = new StagingPool(memory, 4 * BLOCK)
    const all = await pool.acquire(4 * BLOCK, NEVER)
    const order: string[] = []
    const large = pool.acquire(3 * BLOCK, NEVER).then(piece => {
      order.push('large')
      return piece
    })
    const small = pool.acquire(2 * BLOCK, NEVER).then(piece => {
      order.push('small')
      return piece
    })
    all.release()
    expect(pool.tryAcquire(BLOCK), 'a newcomer that would fit').to.equal(undefined)
    const first = await large
    await settled()
    expect(order).to.deep.equal(['large'])
    first.release()
    await small
  })

  it('lets the next go first when one gives up', async () => {
    const pool = new StagingPool(memory, 4 * BLOCK)
    await pool.acquire(2 * BLOCK, NEVER)
    const controller = new AbortController()
    const large = pool.acquire(3 * BLOCK, controller.signal)
    const small = pool.acquire(2 * BLOCK, NEVER)
    const reason = new Error('enough')
    controller.abort(reason)
    expect(await large.catch((error: unknown) => error)).to.equal(reason)
    await small
  })

  it('gives an object larger than the pool a region of its own, one at a time', async () => {
    const pool = new StagingPool(memory, BLOCK)
    const first = await pool.acquire(10 * BLOCK, NEVER)
    expect(first.slice.region.byteLength).to.equal(10 * BLOCK)
    expect(pool.tryAcquire(10 * BLOCK)).to.equal(undefined)
    const second = pool.acquire(10 * BLOCK, NEVER)
    first.release()
    expect(first.slice.region.closed).to.equal(true)
    expect((await second).slice.byteLength).to.equal(10 * BLOCK)
  })

  it('does nothing on a second release', async () => {
    const pool = new StagingPool(memory, 2 * BLOCK)
    const piece = await pool.acquire(BLOCK, NEVER)
    piece.release()
    piece.release()
    await pool.acquire(BLOCK, NEVER)
    await pool.acquire(BLOCK, NEVER)
    expect(pool.tryAcquire(BLOCK)).to.equal(undefined)
  })

  it('refuses more waiting than its limit, and everybody once it closes', async () => {
    const pool = new StagingPool(memory, BLOCK, 1)
    const piece = await pool.acquire(BLOCK, NEVER)
    const waiting = codeOf(pool.acquire(BLOCK, NEVER))
    expect(await codeOf(pool.acquire(BLOCK, NEVER))).to.equal('ERR_OVERLOADED')
    let closed = false
    const closing = pool.close().then(() => {
      closed = true
    })
    expect(await waiting).to.equal('ERR_SHUTTING_DOWN')
    expect(await codeOf(pool.acquire(BLOCK, NEVER))).to.equal('ERR_SHUTTING_DOWN')
    await settled()
    expect(closed, 'closed while a piece is lent').to.equal(false)
    piece.release()
    await closing
    expect(piece.slice.region.closed).to.equal(true)
  })
})
