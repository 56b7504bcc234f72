import { expect } from 'chai'
import fc from 'fast-check'
import { systemClock, type Directory, type ReplicaAddResult, silentLogger } from '@mooncake-ts/core'
import { createCopyPool, createRegion, crc32c } from '@mooncake-ts/memory'
import { randomBytes, rejectsWith, VirtualClock } from '@mooncake-ts/testkit'
import { checksumOf } from '../../dist/engine/checksum.js'
import { chunksOf } from '../../dist/engine/chunks.js'
import { GenerationClock } from '../../dist/routes/generation.js'
import { RouteCache } from '../../dist/routes/route-cache.js'
import { RouteNotifier } from '../../dist/routes/route-notifier.js'
import { Admission } from '../../dist/transfer/admission.js'

const signal = new AbortController().signal

describe('Admission', () => {
  it('lets in first come, first served, also a small one behind a large one', async () => {
    const admission = new Admission({ inflightBytesMax: 100, queuedOpsMax: 10 })
    const order: string[] = []
    const enter = (name: string, bytes: number): Promise<void> =>
      admission.enter(bytes, signal).then(() => void order.push(name))
    await enter('first', 60)
    const large = enter('large', 90)
    const small = enter('small', 10)
    expect([admission.inflightBytes, admission.waiting]).to.deep.equal([60, 2])
    admission.leave(60)
    await Promise.all([large, small])
    expect(order).to.deep.equal(['first', 'large', 'small'])
    expect(admission.inflightBytes).to.equal(100)
  })

  it('lets in alone what is larger than the limit', async () => {
    const admission = new Admission({ inflightBytesMax: 100, queuedOpsMax: 10 })
    await admission.enter(1000, signal)
    const next = admission.enter(1, signal)
    expect(admission.waiting).to.equal(1)
    admission.leave(1000)
    await next
  })

  it('refuses when too many wait, and forgets who gives up', async () => {
    const admission = new Admission({ inflightBytesMax: 1, queuedOpsMax: 1 })
    await admission.enter(1, signal)
    const givesUp = new AbortController()
    const waiting = admission.enter(1, givesUp.signal)
    await rejectsWith(admission.enter(1, signal), 'ERR_OVERLOADED')
    givesUp.abort(new Error('enough'))
    expect(await waiting.catch((error: Error) => error.message)).to.equal('enough')
    expect(admission.waiting).to.equal(0)
    admission.leave(1)
    expect(admission.inflightBytes).to.equal(0)
  })
})

describe('GenerationClock', () => {
  it('grows with time, within a millisecond, and beyond what it has seen', () => {
    const clock = new VirtualClock()
    const generations = new GenerationClock(clock)
    const [a, b] = [generations.next(), generations.next()]
    expect(b).to.be.greaterThan(a)
    generations.observe(b + 1_000_000)
    expect(generations.next()).to.equal(b + 1_000_001)
    expect(Number.isSafeInteger(new GenerationClock(systemClock).next())).to.equal(true)
  })
})

describe('RouteCache', () => {
  const route = { byteLength: 1, generation: 1, replicas: [] }

  it('forgets after a while, unless nothing better is to be had', async () => {
    const clock = new VirtualClock()
    const cache = new RouteCache(clock, { keysMax: 10, ttlMs: 100 })
    cache.set('k', route)
    await clock.advance(99)
    expect(cache.get('k')).to.equal(route)
    await clock.advance(2)
    expect(cache.get('k')).to.equal(undefined)
    expect(cache.get('k', true)).to.equal(route)
  })

  it('keeps those that were used last', () => {
    const cache = new RouteCache(systemClock, { keysMax: 2, ttlMs: 1000 })
    cache.set('a', route)
    cache.set('b', route)
    cache.get('a')
    cache.set('c', route)
    expect(['a', 'b', 'c'].map(key => cache.get(key) != null)).to.deep.equal([true, false, true])
  })
})

describe('RouteNotifier', () => {
  it('tells in order, and gathers in one call what comes while another is under way', async () => {
    const calls: Array<{ adds: string[]; removes: string[] }> = []
    let answer: () => void = () => {}
    const directory = {
      syncReplicas: async (adds: ReadonlyArray<{ key: string }>, removes: ReadonlyArray<{ key: string }>) => {
        calls.push({ adds: adds.map(a => a.key), removes: removes.map(r => r.key) })
        await new Promise<void>(resolve => (answer = resolve))
        return adds.map((): ReplicaAddResult => 'ok')
      },
    } as unknown as Directory
    const notifier = new RouteNotifier(directory, silentLogger)
    const add = (key: string): Promise<ReplicaAddResult> =>
      notifier.add({ key, byteLength: 1, generation: 1, segment: 's' })
    const first = add('a')
    await Promise.resolve()
    await Promise.resolve()
    const others = [add('b'), add('c')]
    notifier.remove({ key: 'a', generation: 1, segment: 's' })
    answer()
    await first
    while (calls.length < 2) await new Promise(setImmediate)
    answer()
    expect(await Promise.all(others)).to.deep.equal(['ok', 'ok'])
    expect(calls).to.deep.equal([
      { adds: ['a'], removes: [] },
      { adds: ['b', 'c'], removes: ['a'] },
    ])
  })
})

describe('chunksOf', () => {
  it('loses nothing, keeps the order, and stays within its limits', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 12_000_000 }), { maxLength: 600 }), lengths => {
        const chunks = chunksOf(lengths, length => length)
        expect(chunks.flat()).to.deep.equal(lengths)
        for (const chunk of chunks) {
          expect(chunk.length).to.be.within(1, 256)
          if (chunk.length > 1) expect(chunk.reduce((a, b) => a + b, 0)).to.be.at.most(8 * 2 ** 20)
        }
      }),
    )
  })
})

describe('checksumOf', () => {
  it('is the CRC-32C of all parts as one', async () => {
    const pool = createCopyPool({ threads: 1 })
    const region = createRegion({ byteLength: 100_000 })
    region.view(0, 100_000).set(randomBytes(100_000, 3))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(50_000), fc.nat(5000)), { maxLength: 6 }), async ranges => {
        const parts = ranges.map(([offset, byteLength]) => ({ region, offset, byteLength }))
        const whole = Buffer.concat(parts.map(part => region.view(part.offset, part.byteLength)))
        expect(await checksumOf(pool, parts)).to.equal(crc32c(whole))
      }),
      { numRuns: 50 },
    )
    region.close()
    await pool.close()
  })
})
