import { MooncakeError } from '@mooncake-ts/core'
import { until } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { codeOf, Harness, poisonTier, settled } from '../local/support/harness.js'
import { MapTier } from '../local/support/tiers.js'
import { SCHEDULER_DEFAULTS } from '../../dist/tiering/scheduler-config.js'
import { placesOf, twoTiers, usedBytes } from './support.js'

const PICKY = { promotion: true, promotionFreelyBelow: 0 }

/** Puts an object into the slow tier. */
async function putSlow(
  h: Harness,
  key: string,
  byteLength: number,
  content = 1,
  checksum?: number,
): Promise<void> {
  const options = checksum == null ? { content } : { content, checksum }
  await h.commit(h.backend.reserveNow(byteLength, 'ssd-0')!, key, options)
}

describe('TierScheduler: promotion', () => {
  it('copies to the fast tier what was used often enough, and keeps the slow copy', async () => {
    await using h = twoTiers(100, new MapTier(100), PICKY)
    await putSlow(h, 'k', 10, 7)
    for (let read = 0; read < 2; read++) await h.get('k')
    await settled()
    expect(placesOf(h, 'k'), 'a put and two reads').to.deep.equal(['ssd-0'])
    expect((await h.get('k'))![0]).to.equal(7)
    await until(() => placesOf(h, 'k').length === 2)
    expect(placesOf(h, 'k')).to.deep.equal(['dram-0', 'ssd-0'])
    expect(h.come.at(-1)).to.equal('k@1 dram-0')
    expect((await h.get('k'))![0]).to.equal(7)
    expect(h.gone).to.deep.equal([])
  })

  it('needs one read only while the fast tier is rather empty', async () => {
    await using h = twoTiers(100, new MapTier(100), { ...PICKY, promotionFreelyBelow: 0.2 })
    await putSlow(h, 'a', 10)
    await putSlow(h, 'b', 10)
    await h.get('a')
    await until(() => placesOf(h, 'a').length === 2)
    await h.put('c', 10)
    await h.get('b')
    await settled()
    expect(placesOf(h, 'b')).to.deep.equal(['ssd-0'])
  })

  it('never displaces what is hotter', async () => {
    await using h = twoTiers(100, new MapTier(1000), PICKY)
    for (let i = 0; i < 8; i++) {
      await h.put(`hot ${i}`, 10)
      for (let read = 0; read < 8; read++) await h.get(`hot ${i}`)
    }
    await putSlow(h, 'warm', 10)
    for (let read = 0; read < 5; read++) await h.get('warm')
    await settled()
    expect(placesOf(h, 'warm')).to.deep.equal(['ssd-0'])
    for (let read = 0; read < 9; read++) await h.get('warm')
    await until(() => placesOf(h, 'warm').length === 2)
  })

  it('takes what is free at nobody’s expense: a full tier stays as it is', async () => {
    await using h = twoTiers(20, new MapTier(100), { ...PICKY, demotion: false })
    await h.put('a', 10)
    await h.put('b', 10)
    await putSlow(h, 'k', 10)
    for (let read = 0; read < 10; read++) await h.get('k')
    await settled()
    expect(placesOf(h, 'k')).to.deep.equal(['ssd-0'])
    expect(h.evicted).to.deep.equal([])
  })

  it('bounds the queue', async () => {
    const slow = new MapTier(1000)
    await using h = twoTiers(1000, slow, { promotion: true, promotionsQueuedMax: 2, backgroundOpsMax: 1 })
    for (let i = 0; i < 5; i++) await putSlow(h, `k${i}`, 10)
    await Promise.all(Array.from({ length: 5 }, (_, i) => h.get(`k${i}`)))
    await until(() => usedBytes(h)[0] === 20)
    await settled()
    expect(usedBytes(h)[0], 'three were refused').to.equal(20)
  })

  it('gives the copy up when the object is replaced meanwhile', async () => {
    const slow = new MapTier(100)
    await using h = twoTiers(100, slow, { promotion: true })
    await putSlow(h, 'k', 10, 1)
    slow.hold = true
    const read = h.get('k')
    await until(() => slow.heldBack === 2)
    await h.put('k', 10, { mode: 'upsert', generation: 2, content: 9 })
    slow.letGo()
    expect((await read)![0]).to.equal(1)
    await until(() => slow.usedBytes === 0 && usedBytes(h)[0] === 10)
    expect(placesOf(h, 'k')).to.deep.equal(['dram-0'])
    expect((await h.get('k'))![0]).to.equal(9)
  })

  it('leaves an object where it is when it cannot be read, and drops one whose bytes are wrong', async () => {
    const slow = new MapTier(100, { persistence: true })
    await using h = twoTiers(100, slow, { promotion: true })
    await putSlow(h, 'k', 10)
    slow.readError = new MooncakeError('ERR_IO', 'the device is broken')
    expect(await codeOf(h.get('k'))).to.equal('ERR_IO')
    await settled()
    await until(() => usedBytes(h)[0] === 0)
    expect(placesOf(h, 'k')).to.deep.equal(['ssd-0'])
    slow.readError = undefined

    await putSlow(h, 'rotten', 10, 1, 12345)
    h.backend.acquire('rotten')!.release()
    expect(await codeOf(h.get('rotten'))).to.equal('ERR_CHECKSUM_MISMATCH')
    expect(h.gone[0]).to.include({ key: 'rotten', reason: 'lost' })
    await until(() => usedBytes(h)[0] === 10 || usedBytes(h)[0] === 0)
    expect(await h.get('rotten')).to.equal(undefined)
  })

  it('comes to rest when it is closed during the read', async () => {
    const slow = new MapTier(100)
    const h = twoTiers(100, slow, { promotion: true })
    await putSlow(h, 'k', 10)
    slow.hold = true
    const read = h.get('k')
    await until(() => slow.heldBack === 2)
    let closed = false
    const closing = h.backend.close().then(() => (closed = true))
    await settled()
    expect(closed).to.equal(false)
    slow.letGo()
    await Promise.all([read, closing])
    expect(usedBytes(h)).to.deep.equal([0, 10])
    expect(h.clock.pending).to.equal(0)
    await h[Symbol.asyncDispose]()
  })
})

describe('TierScheduler: three tiers', () => {
  it('lets objects sink one tier after another, and rise to the fastest', async () => {
    const [ssd, disk] = [new MapTier(60, {}, 'ssd-0', 50), new MapTier(1000, {}, 'disk-0', 10)]
    await using h = new Harness(memory => [disk, poisonTier(memory, 40), ssd], {
      scheduler: { ...SCHEDULER_DEFAULTS, promotionFreelyBelow: 0 },
    })
    for (let i = 0; i < 30; i++) {
      await h.put(`k${i}`, 10, { content: i + 1 })
      await settled()
    }
    await until(() => placesOf(h, 'k0')[0] === 'disk-0')
    expect(h.evicted).to.deep.equal([])
    expect(h.backend.keyCount).to.equal(30)
    for (let i = 0; i < 30; i++) expect((await h.get(`k${i}`))![0]).to.equal(i + 1)
    for (let read = 0; read < 8; read++) await h.get('k0')
    await until(() => placesOf(h, 'k0')[0] === 'dram-0')
    expect((await h.get('k0'))![0]).to.equal(1)
  })

  it('moves nothing between tiers of equal priority', async () => {
    await using h = new Harness(memory => [poisonTier(memory, 20, 'a'), poisonTier(memory, 20, 'b')], {
      scheduler: SCHEDULER_DEFAULTS,
    })
    for (let i = 0; i < 6; i++) await h.put(`k${i}`, 10)
    await settled()
    expect(h.come.length, 'puts only').to.equal(6)
  })
})
