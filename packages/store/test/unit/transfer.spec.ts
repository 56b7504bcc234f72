import { expect } from 'chai'
import fc from 'fast-check'
import {
  MooncakeError,
  silentLogger,
  systemClock,
  type Directory,
  type ReplicaAddResult,
} from '@mooncake-ts/core'
import { createCopyPool, createRegion, crc32c } from '@mooncake-ts/memory'
import { randomBytes, rejectsWith, until, VirtualClock } from '@mooncake-ts/testkit'
import { checksumOf } from '../../dist/engine/checksum.js'
import { chunksOf } from '../../dist/engine/chunks.js'
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

describe('RouteCache', () => {
  const route = { byteLength: 1, generation: 1, replicas: [] }

  it('forgets after a while, unless nothing better is to be had', async () => {
    const clock = new VirtualClock()
    const cache = new RouteCache(clock, { keysMax: 10, ttlMs: 100 })
    cache.set('k', route)
    await clock.advance(99)
    expect(cache.get('k')).to.include(route)
    await clock.advance(2)
    expect(cache.get('k')).to.equal(undefined)
    expect(cache.get('k', true)).to.include(route)
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
  interface Call {
    readonly adds: string[]
    readonly removes: string[]
    answer(results?: ReplicaAddResult[]): void
    fail(): void
  }

  function start() {
    const calls: Call[] = []
    const syncReplicas: Directory['syncReplicas'] = (adds, removes) =>
      new Promise((resolve, reject) => {
        const answer = (results?: ReplicaAddResult[]) => resolve(results ?? adds.map(() => 'ok' as const))
        const fail = () => reject(new MooncakeError('ERR_MASTER_UNAVAILABLE'))
        calls.push({ adds: adds.map(a => a.key), removes: removes.map(r => r.key), answer, fail })
      })
    const clock = new VirtualClock()
    const notifier = new RouteNotifier({ syncReplicas } as Directory, clock, silentLogger)
    const add = (key: string) => notifier.add({ key, byteLength: 1, generation: 1, segment: 's' })
    const remove = (key: string) => notifier.remove({ key, generation: 1, segment: 's' })
    const nextCall = async (count: number) => {
      await until(() => calls.length === count)
      return calls[count - 1]!
    }
    return { notifier, clock, add, remove, nextCall }
  }

  it('tells in order, and gathers in one call what comes while another is under way', async () => {
    const { add, remove, nextCall } = start()
    const first = add('a')
    const one = await nextCall(1)
    const others = [add('b'), add('c')]
    remove('a')
    one.answer()
    await first
    const two = await nextCall(2)
    expect([one.adds, two.adds, two.removes]).to.deep.equal([['a'], ['b', 'c'], ['a']])
    two.answer(['ok', 'exceeded'])
    expect(await Promise.all(others), 'not wanted').to.deep.equal([false, true])
  })

  it('says only the last of several changes of one key', async () => {
    const { add, remove, nextCall } = start()
    void add('busy')
    const one = await nextCall(1)
    const superseded = add('k')
    remove('k')
    one.answer()
    const two = await nextCall(2)
    expect([two.adds, two.removes]).to.deep.equal([[], ['k']])
    expect(await superseded).to.equal(false)
    two.answer()
  })

  it('tells again what the directory did not hear, unless something newer is to be said', async () => {
    const { clock, notifier, add, remove, nextCall } = start()
    const [a, b] = [add('a'), add('b')]
    const one = await nextCall(1)
    one.fail()
    expect(await Promise.all([a, b]), 'nobody waits for a directory that is away').to.deep.equal([
      false,
      false,
    ])
    remove('a')
    await until(async () => {
      await clock.advance(100)
      return notifier.pending === 0
    })
    const two = await nextCall(2)
    expect([two.adds, two.removes]).to.deep.equal([['b'], ['a']])
    two.answer()
    await notifier.close()
  })

  it('gives up at the end when the directory is away', async () => {
    const { notifier, add, nextCall } = start()
    void add('a')
    const one = await nextCall(1)
    const closed = notifier.close()
    one.fail()
    await closed
    expect(notifier.pending).to.equal(1)
  })

  it('leaves nobody waiting then, also for what came while it was telling for the last time', async () => {
    const { notifier, add, nextCall } = start()
    void add('a')
    const one = await nextCall(1)
    const late = add('b')
    const closed = notifier.close()
    one.fail()
    expect(await late).to.equal(false)
    await closed
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
          if (chunk.length > 1) expect(chunk.reduce((a, b) => a + b, 0)).to.be.at.most(32 * 2 ** 20)
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
