import { MooncakeError } from '@mooncake-ts/core'
import { lru } from '@mooncake-ts/store'
import { expect } from 'chai'
import type { Reservation } from '../../dist/local/tiered-backend.js'
import { codeOf, Harness, NEVER, poisonTier, settled, thrownCode } from './support/harness.js'
import { BlockTier, MapTier } from './support/tiers.js'

describe('TieredBackend: eviction', () => {
  it('evicts the least recently used first', async () => {
    await using h = Harness.dram(30, { evictionPolicy: lru() })
    for (const key of ['a', 'b', 'c']) await h.put(key, 10)
    h.backend.acquire('a')!.release()
    h.backend.peek('b')
    h.backend.has('b')
    await h.put('d', 10)
    await h.put('e', 10)
    expect(h.evicted).to.deep.equal(['b', 'c'])
    expect([...h.backend.entries()].map(({ meta }) => meta.key)).to.have.members(['a', 'd', 'e'])
  })

  it('begins above the high watermark and goes on down to the low one', async () => {
    await using h = Harness.dram(100, { evictionHighWatermark: 0.8, evictionLowWatermark: 0.5 })
    for (let i = 0; i < 8; i++) await h.put(`k${i}`, 10)
    expect(h.evicted).to.deep.equal([])
    await h.put('k8', 10)
    expect(h.evicted).to.deep.equal(['k0', 'k1', 'k2', 'k3'])
    expect(h.tiers[0]!.usedBytes).to.equal(50)
  })

  it('counts what objects take of a tier that rounds up, also while it is on its way back', async () => {
    const tier = new BlockTier(100)
    await using h = new Harness(() => [tier])
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 1)
    tier.hold = true
    const waiting = h.wait(1)
    await settled()
    expect(h.evicted).to.deep.equal(['k0'])
    tier.letGo()
    ;(await waiting).abandon()
    expect(h.evicted).to.deep.equal(['k0'])
  })

  it('leaves alone what is being read, and takes it when its readers have left', async () => {
    await using h = Harness.dram(30, { evictionPolicy: lru() })
    for (const key of ['a', 'b', 'c']) await h.put(key, 10)
    const reading = h.backend.acquire('a')!
    await h.put('d', 10)
    expect(h.evicted).to.deep.equal(['b'])
    reading.release()
    await h.put('e', 20)
    expect(h.evicted).to.deep.equal(['b', 'c', 'd'])
    expect(h.backend.has('a')).to.equal(true)
    await h.put('f', 20)
    expect(h.evicted).to.deep.equal(['b', 'c', 'd', 'a', 'e'])
  })

  it('takes soft pins when nothing else is left, and hard pins never', async () => {
    await using h = Harness.dram(40)
    await h.put('hard', 10, { hardPin: true })
    await h.put('soft', 10, { softPin: true })
    await h.put('a', 10)
    await h.put('b', 10)
    await h.put('c', 20)
    expect(h.evicted).to.deep.equal(['a', 'b'])
    await h.put('d', 30)
    expect(h.evicted).to.deep.equal(['a', 'b', 'c', 'soft'])
    expect(h.backend.reserveNow(40)).to.equal(undefined)
    expect(h.backend.has('hard')).to.equal(true)
  })

  it('does not go down to the low watermark at the expense of soft pins', async () => {
    await using h = Harness.dram(40, { evictionHighWatermark: 0.5, evictionLowWatermark: 0.25 })
    for (let i = 0; i < 4; i++) await h.put(`s${i}`, 10, { softPin: true })
    expect(h.evicted).to.deep.equal([])
    await h.put('s4', 10, { softPin: true })
    expect(h.evicted).to.deep.equal(['s0'])
  })

  it('does not begin what cannot succeed', async () => {
    await using h = Harness.dram(40)
    await h.put('hard', 20, { hardPin: true })
    await h.put('a', 10)
    expect(h.backend.reserveNow(30)).to.equal(undefined)
    expect(h.evicted).to.deep.equal([])
  })

  it('goes on evicting where enough is free but in pieces', async () => {
    await using h = Harness.dram(60)
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) await h.put(key, 10)
    for (const key of ['b', 'd']) h.backend.remove(key)
    await h.put('big', 30)
    expect(h.evicted, 'one at a time, until a piece is large enough').to.deep.equal(['a', 'c'])
  })

  it('takes the fastest tier that can make room before a slower one', async () => {
    const device = (): MapTier => new MapTier(100)
    await using h = new Harness(memory => [device(), poisonTier(memory, 20, 'fast', 200)])
    await h.put('a', 20)
    await h.put('b', 20)
    expect(h.evicted).to.deep.equal(['a'])
    await h.put('too large for the fast one', 50)
    expect(
      h.backend.tierViews().map(({ tier, usedBytes, keyCount }) => [tier.name, usedBytes, keyCount]),
    ).to.deep.equal([
      ['fast', 20, 1],
      ['ssd-0', 50, 1],
    ])
  })

  it('spares the soft pins of a fast tier while a slower one has room', async () => {
    await using h = new Harness(memory => [poisonTier(memory, 20, 'fast', 200), new MapTier(100)])
    await h.put('soft', 20, { softPin: true })
    await h.put('a', 20)
    expect(h.evicted).to.deep.equal([])
    expect([...h.backend.entries()].map(({ meta, tier }) => `${meta.key} ${tier.name}`)).to.deep.equal([
      'soft fast',
      'a ssd-0',
    ])
  })

  it('evicts a great many in several turns of the event loop', async () => {
    const objects = 35_000
    await using h = Harness.dram(objects)
    for (let i = 0; i < objects; i++) {
      await h.backend.commit(
        h.space(1),
        { key: `k${i}`, generation: 1, byteLength: 1, softPin: false, hardPin: false },
        'put',
      )
    }
    expect(h.backend.reserveNow(objects)).to.equal(undefined)
    expect(h.evicted.length).to.equal(10_000)
    const reservation = await h.wait(objects)
    expect(h.backend.keyCount).to.equal(0)
    reservation.abandon()
  })

  it('asks for a tier by name, and knows none that is not there', async () => {
    await using h = new Harness(memory => [poisonTier(memory, 20), new MapTier(100)])
    const reservation = h.backend.reserveNow(10, 'ssd-0')!
    expect(reservation.holding.tier.name).to.equal('ssd-0')
    reservation.abandon()
    expect(thrownCode(() => h.backend.reserveNow(10, 'nowhere'))).to.equal('ERR_SEGMENT_NOT_FOUND')
  })
})

describe('TieredBackend: waiting for space', () => {
  it('serves those who wait in their order, and lets no newcomer overtake', async () => {
    await using h = Harness.dram(20)
    const held = [h.space(10), h.space(10)]
    const order: string[] = []
    const wait = (name: string, byteLength: number): Promise<Reservation> =>
      h.wait(byteLength).then(reservation => {
        order.push(name)
        return reservation
      })
    const large = wait('large', 20)
    const small = wait('small', 10)
    await settled()
    held[0]!.abandon()
    await settled()
    expect(order, 'ten bytes are free, but the first wants twenty').to.deep.equal([])
    expect(h.backend.reserveNow(10)).to.equal(undefined)
    held[1]!.abandon()
    ;(await large).abandon()
    ;(await small).abandon()
    expect(order).to.deep.equal(['large', 'small'])
  })

  it('is woken by a commit, by the end of a read and by a removal', async () => {
    await using h = Harness.dram(10)
    const first = h.space(10)
    const second = h.wait(10)
    await h.commit(first, 'a')
    await h.commit(await second, 'b')
    expect(h.evicted).to.deep.equal(['a'])

    const lease = h.backend.acquire('b')!
    const third = h.wait(10)
    await settled()
    lease.release()
    await h.commit(await third, 'c', { hardPin: true })
    expect(h.evicted).to.deep.equal(['a', 'b'])

    const fourth = h.wait(10)
    await settled()
    h.backend.remove('c')
    ;(await fourth).abandon()
  })

  it('gives up at the deadline, and tells how full it is', async () => {
    await using h = Harness.dram(10)
    await h.put('hard', 10, { hardPin: true })
    const waiting = h.wait(5, 1000).catch((error: unknown) => error as Error & { code: string })
    await h.clock.advance(999)
    await settled()
    await h.clock.advance(1)
    const error = (await waiting) as Error & { code: string }
    expect(error.code).to.equal('ERR_NO_AVAILABLE_HANDLE')
    expect(error.message).to.equal('No space for 5 B after waiting 1000 ms: dram-0 uses 10 of 10 B')
  })

  it('gives up when the signal aborts, with its reason; the one behind goes on', async () => {
    await using h = Harness.dram(20)
    const held = h.space(10)
    const controller = new AbortController()
    const large = h.wait(20, 1000, controller.signal)
    const small = h.wait(10)
    const reason = new Error('enough')
    controller.abort(reason)
    expect(await large.catch((error: unknown) => error)).to.equal(reason)
    ;(await small).abandon()
    held.abandon()
    expect(await h.wait(10, 1000, controller.signal).catch((error: unknown) => error)).to.equal(reason)
  })

  it('lets a whole batch wait on one signal, without a word about a leak', async () => {
    await using h = Harness.dram(10)
    const warnings: Error[] = []
    const listener = (warning: Error): void => void warnings.push(warning)
    process.on('warning', listener)
    const held = h.space(10)
    const controller = new AbortController()
    const waiting = Array.from({ length: 20 }, () => codeOf(h.wait(10, 1000, controller.signal)))
    await settled()
    controller.abort(new MooncakeError('ERR_SHUTTING_DOWN'))
    expect(new Set(await Promise.all(waiting))).to.deep.equal(new Set(['ERR_SHUTTING_DOWN']))
    held.abandon()
    process.off('warning', listener)
    expect(warnings).to.deep.equal([])
  })

  it('gives up at once where no tier could ever hold it', async () => {
    await using h = Harness.dram(10)
    expect(await codeOf(h.wait(11))).to.equal('ERR_NO_AVAILABLE_HANDLE')
    await using client = new Harness(() => [])
    expect(await codeOf(client.wait(0))).to.equal('ERR_NO_AVAILABLE_HANDLE')
    expect(client.backend.reserveNow(0)).to.equal(undefined)
  })

  it('refuses more waiting than its limit', async () => {
    await using h = Harness.dram(10, { waitingReservationsMax: 1 })
    const held = h.space(10)
    const waiting = h.wait(10)
    expect(await codeOf(h.wait(10))).to.equal('ERR_OVERLOADED')
    held.abandon()
    ;(await waiting).abandon()
  })

  it('lets those through who wait for another tier, or need no space', async () => {
    await using h = new Harness(memory => [poisonTier(memory, 10, 'fast', 200), new MapTier(10)])
    const fast = h.space(10)
    const waiting = h.backend.reserve(10, { deadlineMs: 1000, signal: NEVER, tier: 'fast' })
    await settled()
    const slow = h.space(10)
    expect(slow.holding.tier.name).to.equal('ssd-0')
    const any = h.wait(10)
    await settled()
    h.space(0).abandon()
    slow.abandon()
    expect((await any).holding.tier.name, 'behind one that wants the other tier').to.equal('ssd-0')
    fast.abandon()
    ;(await waiting).abandon()
    ;(await any).abandon()
  })

  it('waits for a tier that takes its space back slowly instead of evicting more', async () => {
    const tier = new MapTier(30)
    await using h = new Harness(() => [tier])
    for (const key of ['a', 'b', 'c']) await h.put(key, 10)
    tier.hold = true
    const waiting = h.wait(10)
    const behind = h.wait(10)
    await settled()
    expect(h.evicted, 'for the first in the queue').to.deep.equal(['a'])
    expect(tier.usedBytes, 'the delete is still running').to.equal(30)
    tier.letGo()
    ;(await waiting).abandon()
    ;(await behind).abandon()
    await settled()
    expect(h.evicted.length).to.be.at.most(2)
  })

  it('refuses all who wait when it closes, and waits for what is in use', async () => {
    const h = Harness.dram(10)
    const held = h.space(10)
    const waiting = codeOf(h.wait(10))
    let closed = false
    const closing = h.backend.close().then(() => {
      closed = true
    })
    expect(await waiting).to.equal('ERR_SHUTTING_DOWN')
    expect(thrownCode(() => h.backend.reserveNow(1))).to.equal('ERR_SHUTTING_DOWN')
    expect(thrownCode(() => h.backend.acquire('a'))).to.equal('ERR_SHUTTING_DOWN')
    await settled()
    expect(closed).to.equal(false)
    expect(await h.commit(held, 'a'), 'what was begun may end').to.equal('committed')
    await closing
    expect(h.clock.pending).to.equal(0)
    await h[Symbol.asyncDispose]()
  })
})
