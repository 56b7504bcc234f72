import { MooncakeError } from '@mooncake-ts/core'
import { until } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { lru } from '@mooncake-ts/store'
import { SCHEDULER_DEFAULTS } from '../../dist/tiering/scheduler-config.js'
import { Harness, settled } from '../local/support/harness.js'
import { BlockTier, MapTier } from '../local/support/tiers.js'
import { placesOf, twoTiers, usedBytes } from './support.js'

const EIO = new MooncakeError('ERR_IO', 'the device is broken')

describe('TierScheduler: demotion', () => {
  it('copies the coldest to the slower tier before space is needed, and withdraws them only then', async () => {
    const slow = new MapTier(100)
    await using h = twoTiers(100, slow)
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10, { content: i + 1 })
    await until(() => usedBytes(h)[0] === 80)
    expect(usedBytes(h)).to.deep.equal([80, 20])
    expect(h.gone.map(({ key, tier, reason }) => `${key} ${tier} ${reason}`)).to.deep.equal([
      'k0 dram-0 demoted',
      'k1 dram-0 demoted',
    ])
    expect(h.come.slice(-2)).to.deep.equal(['k0@1 ssd-0', 'k1@1 ssd-0'])
    for (let i = 0; i < 10; i++) expect((await h.get(`k${i}`))![0], `k${i}`).to.equal(i + 1)
  })

  it('counts whole blocks of the tier that it relieves', async () => {
    const slow = new MapTier(100)
    await using h = new Harness(() => [new BlockTier(100, {}, 'fast', 50), slow], {
      evictionPolicy: lru(),
      scheduler: { ...SCHEDULER_DEFAULTS, promotion: false },
    })
    for (let i = 0; i < 9; i++) await h.put(`k${i}`, 1)
    slow.hold = true
    await h.put('k9', 1)
    await until(() => slow.heldBack >= 2)
    await settled()
    expect(slow.heldBack, 'copies of one byte that give ten back').to.equal(2)
    slow.letGo()
    await until(() => usedBytes(h)[0] === 80)
    expect(h.gone.map(({ key }) => key)).to.deep.equal(['k0', 'k1'])
  })

  it('tells of the new replica before it tells that the old one is gone', async () => {
    const told: string[] = []
    await using h = twoTiers(
      100,
      new MapTier(100),
      {},
      {
        events: {
          committed: () => {},
          copied: (meta, tier) => void told.push(`+${meta.key} ${tier.name}`),
          removed: (meta, tier) => void told.push(`-${meta.key} ${tier.name}`),
        },
      },
    )
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => told.length === 4)
    for (const key of ['k0', 'k1']) {
      expect(told.filter(line => line.includes(key))).to.deep.equal([`+${key} ssd-0`, `-${key} dram-0`])
    }
  })

  it('keeps an object readable while it is copied, in the fast tier where it is read meanwhile', async () => {
    const slow = new MapTier(100)
    await using h = twoTiers(100, slow)
    for (let i = 0; i < 9; i++) await h.put(`k${i}`, 10, { content: i + 1 })
    slow.hold = true
    await h.put('k9', 10)
    await until(() => slow.heldBack === 2)
    expect((await h.get('k0'))![0]).to.equal(1)
    slow.letGo()
    await until(() => placesOf(h, 'k0').length === 2 && placesOf(h, 'k1')[0] === 'ssd-0')
    await settled()
    expect(placesOf(h, 'k0'), 'it is not cold any more').to.deep.equal(['dram-0', 'ssd-0'])
  })

  it('drops without another copy what a slower tier has already', async () => {
    const slow = new MapTier(100)
    await using h = twoTiers(100, slow)
    for (let i = 0; i < 9; i++) await h.put(`k${i}`, 10, { content: i + 1 })
    slow.hold = true
    await h.put('k9', 10)
    await until(() => slow.heldBack === 2)
    await h.get('k0')
    slow.letGo()
    await until(() => placesOf(h, 'k0').length === 2)
    const { writes } = slow
    for (let i = 1; i < 10; i++) await h.get(`k${i}`) // Now k0 is the coldest again.
    await h.put('k10', 10)
    await until(() => placesOf(h, 'k0').length === 1)
    expect(placesOf(h, 'k0')).to.deep.equal(['ssd-0'])
    expect(slow.writes).to.be.at.most(writes + 1)
    expect((await h.get('k0'))![0]).to.equal(1)
  })

  it('never makes a put wait: at the limit what is cold goes without a copy', async () => {
    const slow = new MapTier(1000)
    await using h = twoTiers(100, slow, { backgroundOpsMax: 2 })
    slow.hold = true
    for (let i = 0; i < 20; i++) {
      await h.put(`k${i}`, 10)
      await settled()
    }
    expect(h.evicted, 'k0 and k1 are being copied').to.deep.equal(
      Array.from({ length: 10 }, (_, i) => `k${i + 2}`),
    )
    expect(h.tiers[0]!.usedBytes).to.equal(100)
    slow.letGo()
    await until(() => usedBytes(h)[0] === 80)
    expect(placesOf(h, 'k0')).to.deep.equal(['ssd-0'])
  })

  for (const [what, change] of [
    ['removed', (h: ReturnType<typeof twoTiers>) => Promise.resolve(h.backend.remove('k0'))],
    [
      'replaced',
      (h: ReturnType<typeof twoTiers>) => h.put('k0', 10, { content: 77, mode: 'upsert', generation: 2 }),
    ],
  ] as const) {
    for (const at of ['write', 'commit']) {
      it(`gives the copy up when the object is ${what} during the ${at}`, async () => {
        const slow = new MapTier(100)
        await using h = twoTiers(100, slow, { backgroundOpsMax: 1, demotionLowWatermark: 0.9 })
        for (let i = 0; i < 9; i++) await h.put(`k${i}`, 10)
        slow.hold = true
        await h.put('k9', 10)
        await until(() => slow.heldBack === 1)
        if (at === 'commit') {
          slow.letGo()
          slow.hold = true
          await until(() => slow.heldBack === 1)
        }
        await change(h)
        slow.letGo()
        await settled()
        await until(() => !slow.identities.has(1))
        expect(placesOf(h, 'k0')).to.deep.equal(what === 'removed' ? [] : ['dram-0'])
        if (what === 'replaced') expect((await h.get('k0'))![0]).to.equal(77)
      })
    }
  }

  it('evicts what cannot be copied, and leaves a broken tier alone for a while', async () => {
    const slow = new MapTier(1000)
    await using h = twoTiers(100, slow, { backgroundOpsMax: 1 })
    slow.writeError = EIO
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => h.evicted.length === 1)
    expect(h.evicted).to.deep.equal(['k0'])
    for (let i = 10; i < 20; i++) await h.put(`k${i}`, 10)
    await settled()
    expect(slow.writes, 'no more than the first').to.equal(1)
    slow.writeError = undefined
    await h.clock.advance(1001)
    await h.put('k20', 10)
    await until(() => usedBytes(h)[0] === 80)
    expect(slow.usedBytes).to.be.above(0)
  })

  it('loses nothing but the victim when the slower tier does not commit', async () => {
    const slow = new MapTier(1000)
    await using h = twoTiers(100, slow, { backgroundOpsMax: 1 })
    slow.commitError = EIO
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => h.evicted.length === 1)
    await until(() => slow.usedBytes === 0)
    expect(h.backend.keyCount).to.equal(9)
  })

  it('evicts at the limit when the slower tier is full of what may not go', async () => {
    const slow = new MapTier(20)
    await using h = twoTiers(100, slow)
    const pinned = h.backend.reserveNow(20, 'ssd-0')!
    await h.commit(pinned, 'hard', { hardPin: true })
    for (let i = 0; i < 12; i++) await h.put(`k${i}`, 10)
    await settled()
    expect(h.evicted).to.deep.equal(['k0', 'k1'])
    expect(placesOf(h, 'hard')).to.deep.equal(['ssd-0'])
  })

  it('evicts what no slower tier could hold, and what was not used often enough', async () => {
    const small = new MapTier(5)
    await using h = twoTiers(100, small)
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => h.evicted.length === 2)
    expect(small.writes).to.equal(0)

    const slow = new MapTier(100)
    await using picky = twoTiers(100, slow, { demotionAccessesMin: 2 })
    await picky.put('read once', 10)
    await picky.get('read once')
    for (let i = 0; i < 9; i++) await picky.put(`k${i}`, 10)
    await until(() => usedBytes(picky)[0] === 80)
    expect(placesOf(picky, 'read once')).to.deep.equal(['ssd-0'])
    expect(picky.evicted).to.deep.equal(['k0'])
  })

  it('makes room in a full slower tier by its own order', async () => {
    const slow = new MapTier(40)
    await using h = twoTiers(100, slow, {}, { evictionHighWatermark: 1, evictionLowWatermark: 0.75 })
    for (let i = 0; i < 30; i++) {
      await h.put(`k${i}`, 10, { content: i + 1 })
      await settled()
    }
    await until(() => usedBytes(h)[0]! <= 90)
    expect(slow.usedBytes).to.be.within(20, 40)
    expect(h.gone.filter(({ tier, reason }) => tier === 'ssd-0' && reason === 'evicted')[0]?.key).to.equal(
      'k0',
    )
    for (const { meta } of h.backend.entries()) {
      expect((await h.get(meta.key))![0]).to.equal(Number(meta.key.slice(1)) + 1)
    }
  })

  it('yields to a foreground that waits, but not for ever', async () => {
    let waiting = 1
    const slow = new MapTier(100)
    await using h = twoTiers(100, slow, { backgroundProgressMs: 50 }, { foregroundWaiting: () => waiting })
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => slow.writes === 1)
    await settled()
    expect(slow.writes, 'k1 has to wait').to.equal(1)
    await h.clock.advance(49)
    expect(slow.writes).to.equal(1)
    await h.clock.advance(1)
    await until(() => usedBytes(h)[0] === 80)
    expect(slow.writes).to.equal(2)
    for (let i = 10; i < 13; i++) await h.put(`k${i}`, 10)
    waiting = 0
    await h.clock.advance(50)
    await until(() => usedBytes(h)[0] === 80)
  })

  it('goes one at a time while a reader is at a device', async () => {
    const slow = new MapTier(1000)
    await using h = twoTiers(100, slow)
    await h.commit(h.backend.reserveNow(10, 'ssd-0')!, 'cold')
    slow.hold = true
    const read = h.get('cold')
    for (let i = 0; i < 10; i++) await h.put(`k${i}`, 10)
    await until(() => slow.heldBack === 2)
    await settled()
    expect(slow.heldBack, 'the reader and one copy').to.equal(2)
    slow.letGo()
    await read
    await until(() => usedBytes(h)[0] === 80)
  })

  for (const at of ['write', 'commit']) {
    it(`comes to rest when it is closed during a ${at}`, async () => {
      const slow = new MapTier(100)
      const h = twoTiers(100, slow, { backgroundOpsMax: 1 })
      for (let i = 0; i < 9; i++) await h.put(`k${i}`, 10)
      slow.hold = true
      await h.put('k9', 10)
      await until(() => slow.heldBack === 1)
      if (at === 'commit') {
        slow.letGo()
        slow.hold = true
        await until(() => slow.heldBack === 1)
      }
      let closed = false
      const closing = h.backend.close().then(() => (closed = true))
      await settled()
      expect(closed, 'the device still works on it').to.equal(false)
      slow.letGo()
      await closing
      await settled()
      expect(h.clock.pending).to.equal(0)
      expect(h.evicted).to.deep.equal([])
      expect(h.backend.keyCount).to.equal(10)
      expect(slow.usedBytes, 'nothing more was begun').to.equal(at === 'commit' ? 10 : 0)
      await h[Symbol.asyncDispose]()
    })
  }
})
