import { crc32c } from '@mooncake-ts/memory'
import { expect } from 'chai'
import { codeOf, Harness, metaOf, NEVER, poisonTier, settled, thrownCode } from './support/harness.js'
import { MapTier } from './support/tiers.js'

describe('TieredBackend: objects', () => {
  it('gives back what was put, empty values included', async () => {
    await using h = Harness.dram(100)
    await h.put('a', 10, { content: 7 })
    await h.put('empty', 0)
    expect(await h.get('a')).to.deep.equal(new Uint8Array(10).fill(7))
    expect(await h.get('empty')).to.deep.equal(new Uint8Array(0))
    expect(await h.get('miss')).to.equal(undefined)
    expect(h.backend.peek('empty')).to.include({ key: 'empty', byteLength: 0, generation: 1 })
    expect(h.come).to.deep.equal(['a@1 dram-0', 'empty@1 dram-0'])
  })

  it('keeps the old value on a put, and the newer one on an upsert', async () => {
    await using h = Harness.dram(100)
    expect(await h.put('k', 10, { generation: 5, content: 5 })).to.equal('committed')
    expect(await h.put('k', 10, { generation: 6, content: 6 })).to.equal('exists')
    expect(await h.put('k', 10, { generation: 4, content: 4, mode: 'upsert' })).to.equal('stale')
    expect(h.tiers[0]!.usedBytes, 'what lost was given back').to.equal(10)
    expect((await h.get('k'))![0]).to.equal(5)
    expect(await h.put('k', 20, { generation: 7, content: 7, mode: 'upsert' })).to.equal('committed')
    expect((await h.get('k'))![0]).to.equal(7)
    expect(h.gone).to.deep.equal([{ key: 'k', generation: 5, tier: 'dram-0', reason: 'replaced' }])
    expect(h.tiers[0]!.usedBytes).to.equal(20)
  })

  it('lets a reader keep its bytes while the object is replaced, removed and its space wanted', async () => {
    await using h = Harness.dram(20)
    await h.put('k', 10, { content: 1 })
    const lease = h.backend.acquire('k')!
    await h.put('k', 10, { content: 2, generation: 2, mode: 'upsert' })
    h.backend.remove('k')
    await h.put('other', 10, { content: 3 })
    expect(h.backend.reserveNow(20)).to.equal(undefined)
    const into = h.bytes(10, 0)
    await h.backend.readInto(lease, 0, into, NEVER)
    expect(into.region.view(0, 10)).to.deep.equal(new Uint8Array(10).fill(1))
    lease.release()
    lease.release()
    expect(h.tiers[0]!.usedBytes).to.equal(10)
    expect(await codeOf(h.backend.readInto(lease, 0, into, NEVER))).to.equal('ERR_INVALID_PARAMS')
  })

  it('loses nothing when an upsert fails', async () => {
    const tier = new MapTier(100, { persistence: true })
    await using h = new Harness(() => [tier])
    await h.put('k', 10, { content: 1 })
    tier.commitError = new Error('the device is gone')
    const failure = await h
      .put('k', 10, { content: 2, generation: 2, mode: 'upsert' })
      .catch((error: unknown) => error)
    expect(failure).to.equal(tier.commitError)
    await settled()
    expect(tier.usedBytes).to.equal(10)
    expect((await h.get('k'))![0]).to.equal(1)
    expect(h.gone).to.deep.equal([])
  })

  it('lets one of two writers win where both commit at once', async () => {
    const tier = new MapTier(100, { persistence: true })
    await using h = new Harness(() => [tier])
    const [a, b] = [h.space(10), h.space(10)]
    await h.backend.fill(a, h.bytes(10, 1), NEVER)
    await h.backend.fill(b, h.bytes(10, 2), NEVER)
    tier.hold = true
    const outcomes = Promise.all([a, b].map(r => h.backend.commit(r, metaOf('k', 10), 'put')))
    await settled()
    expect(h.backend.has('k'), 'visible before it is durable').to.equal(false)
    tier.letGo()
    expect(await outcomes).to.deep.equal(['committed', 'exists'])
    await settled()
    expect(tier.usedBytes).to.equal(10)
    expect((await h.get('k'))![0]).to.equal(1)
  })

  it('refuses a commit that does not fit its reservation, twice, or without a usable generation', async () => {
    await using h = Harness.dram(100)
    expect(await codeOf(h.backend.commit(h.space(10), metaOf('k', 9), 'put'))).to.equal('ERR_INVALID_PARAMS')
    expect(await codeOf(h.put('k', 10, { generation: 2 ** 53 }))).to.equal('ERR_INVALID_PARAMS')
    expect(h.tiers[0]!.usedBytes).to.equal(0)
    const reservation = h.space(10)
    await h.commit(reservation, 'k')
    expect(await codeOf(h.backend.commit(reservation, metaOf('k2', 10), 'put'))).to.equal('ERR_INVALID_WRITE')
    reservation.abandon()
    expect(h.tiers[0]!.usedBytes, 'a late abandon takes nothing from the object').to.equal(10)
  })

  it('keeps the space until bytes in flight have landed', async () => {
    const tier = new MapTier(10)
    await using h = new Harness(() => [tier])
    const reservation = h.space(10)
    tier.hold = true
    const filling = h.backend.fill(reservation, h.bytes(10, 1), NEVER)
    await settled()
    reservation.abandon()
    expect(tier.heldBack, 'only the write: nothing is deleted under it').to.equal(1)
    expect(h.backend.reserveNow(10)).to.equal(undefined)
    tier.letGo()
    await filling
    await settled()
    expect(tier.usedBytes).to.equal(0)
    expect(thrownCode(() => reservation.holding.retain())).to.equal('ERR_INTERNAL')
  })

  it('removes up to a generation', async () => {
    await using h = Harness.dram(100)
    await h.put('k', 10, { generation: 5 })
    expect(h.backend.remove('k', 4)).to.equal(false)
    expect(h.backend.remove('k', 5, 'lost')).to.equal(true)
    expect(h.backend.remove('k')).to.equal(false)
    expect(h.gone).to.deep.equal([{ key: 'k', generation: 5, tier: 'dram-0', reason: 'lost' }])
  })

  it('removes what a predicate says, in slices, while others put', async () => {
    await using h = Harness.dram(1000)
    for (let i = 0; i < 200; i++) await h.put(`${i % 2 === 0 ? 'even' : 'odd'}-${i}`, 1)
    let turns = 0
    h.clock.nowMs = () => turns * 1000 // Each look at the clock ends a slice.
    const removing = h.backend.removeWhere(({ key }) => {
      turns++
      return key.startsWith('even')
    })
    expect(h.backend.keyCount, 'the first slice').to.be.within(101, 199)
    for (let i = 0; i < 100; i++) await h.put(`odd-late-${i}`, 1)
    expect(await removing).to.equal(100)
    expect(h.backend.keyCount).to.equal(200)
    expect(await h.backend.removeWhere(() => true)).to.equal(200)
    expect(h.tiers[0]!.usedBytes).to.equal(0)
  })

  it('lists what it holds while the table changes', async () => {
    await using h = Harness.dram(100)
    for (const key of ['a', 'b', 'c']) await h.put(key, 1)
    const seen: string[] = []
    for (const { meta } of h.backend.entries()) {
      seen.push(meta.key)
      for (const key of ['a', 'b', 'c']) if (key !== seen[0]) h.backend.remove(key)
    }
    expect(seen.length).to.equal(1)
  })
})

describe('TieredBackend: tiers without addresses', () => {
  it('reads parts, straight or by way of staging memory', async () => {
    for (const partialRead of [true, false]) {
      await using h = new Harness(() => [new MapTier(100, { partialRead })])
      const source = h.memory.wrap(Uint8Array.from({ length: 50 }, (_, i) => i))
      const reservation = h.space(50)
      expect(reservation.slice).to.equal(undefined)
      await h.backend.fill(reservation, { region: source, offset: 0, byteLength: 50 }, NEVER)
      await h.backend.commit(reservation, metaOf('k', 50), 'put')
      using lease = h.backend.acquire('k')!
      const into = h.bytes(3, 0)
      await h.backend.readInto(lease, 20, into, NEVER)
      expect(into.region.view(0, 3)).to.deep.equal(Uint8Array.of(20, 21, 22))
      expect(await codeOf(h.backend.readInto(lease, 48, into, NEVER))).to.equal('ERR_SLICE_OUT_OF_BOUNDS')
    }
  })

  it('drops a replica of a persistent tier whose bytes are not those that were put', async () => {
    const tier = new MapTier(100, { persistence: true })
    await using h = new Harness(() => [tier])
    const checksum = crc32c(new Uint8Array(10).fill(9))
    await h.put('good', 10, { content: 9, checksum })
    await h.put('bad', 10, { content: 9, checksum: (checksum ^ 1) >>> 0 })
    expect((await h.get('good'))![0]).to.equal(9)
    expect(await codeOf(h.get('bad'))).to.equal('ERR_CHECKSUM_MISMATCH')
    expect(h.gone).to.deep.equal([{ key: 'bad', generation: 1, tier: 'ssd-0', reason: 'lost' }])
    await settled()
    expect(tier.usedBytes).to.equal(10)
  })

  it('finds objects of an earlier life again; the newest generation of a key stays', async () => {
    const tier = new MapTier(100, { persistence: true })
    const identity = { key: 'k', byteLength: 1 }
    for (const [id, generation] of [
      [101, 2],
      [102, 3],
      [103, 1],
    ] as const) {
      tier.identities.set(id, { ...identity, generation })
      tier.bytes.set(id, Uint8Array.of(generation))
    }
    tier.identities.set(104, { key: 'old', byteLength: 1, generation: 1 })
    tier.bytes.set(104, Uint8Array.of(9))
    await using h = new Harness(memory => [poisonTier(memory, 10), tier])
    await h.put('old', 1, { generation: 2, content: 2 })
    expect(await h.backend.recover()).to.equal(2)
    await settled()
    expect(await h.get('k')).to.deep.equal(Uint8Array.of(3))
    expect(await h.get('old')).to.deep.equal(Uint8Array.of(2))
    expect(tier.usedBytes, 'what is not current was given back').to.equal(1)
  })

  it('takes a recovered copy of what is current as a second replica, and reads the faster one', async () => {
    const tier = new MapTier(100, { persistence: true })
    tier.identities.set(101, { key: 'k', byteLength: 1, generation: 1 })
    tier.bytes.set(101, Uint8Array.of(9))
    await using h = new Harness(memory => [poisonTier(memory, 1), tier])
    await h.put('k', 1, { content: 1 })
    expect(await h.backend.recover()).to.equal(1)
    expect([...h.backend.entries()].map(entry => entry.tier.name)).to.deep.equal(['dram-0', 'ssd-0'])
    expect(await h.get('k')).to.deep.equal(Uint8Array.of(1))
    await h.put('other', 1)
    expect(h.gone).to.deep.equal([{ key: 'k', generation: 1, tier: 'dram-0', reason: 'evicted' }])
    expect(await h.get('k'), 'from the slower replica').to.deep.equal(Uint8Array.of(9))
    expect(h.backend.remove('k')).to.equal(true)
    expect(h.backend.keyCount).to.equal(1)
  })
})
