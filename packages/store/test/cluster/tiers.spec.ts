import { definePlugin, KIB, TIER, type Tier } from '@mooncake-ts/core'
import { randomBytes, until } from '@mooncake-ts/testkit'
import { dram } from '@mooncake-ts/tier-dram'
import { expect } from 'chai'
import { MapTier } from '../local/support/tiers.js'
import { TestCluster } from './support.js'

const OBJECT_BYTES = 16 * KIB
const OBJECTS = 64

function device(tier: MapTier) {
  return definePlugin<Tier>({ name: 'test-device', provides: TIER, useFactory: () => tier })()
}

describe('a store with a slow tier', () => {
  let cluster: TestCluster
  let slow: MapTier
  beforeEach(async () => {
    cluster = await TestCluster.start()
    slow = new MapTier(2 * OBJECTS * OBJECT_BYTES)
  })
  afterEach(() => cluster[Symbol.asyncDispose]())

  const keys = Array.from({ length: OBJECTS }, (_, i) => `k/${i}`)
  const valueOf = (key: string): Buffer => Buffer.from(randomBytes(OBJECT_BYTES, Number(key.slice(2))))
  const tiers = () => [dram({ capacityBytes: (OBJECTS / 4) * OBJECT_BYTES }), device(slow)]

  it('keeps what its memory has no room for, and every node can read it, while it moves', async () => {
    await cluster.node('a', { tiers: tiers(), scheduler: { promotionAccessesMin: 2 } })
    const client = await cluster.client('client', { limits: { routeCacheTtlMs: 1 } })
    const lost: string[] = []
    for (const [index, key] of keys.entries()) {
      await client.put(key, valueOf(key))
      if (index % 8 !== 7) continue
      const known = keys.slice(0, index + 1)
      const exists = await client.existsMany(known)
      lost.push(...known.filter((_, position) => exists[position] === false))
    }
    expect(lost).to.deep.equal([])
    for (let round = 0; round < 3; round++) {
      for (const key of keys) {
        const value = await client.get(key)
        expect(value != null && valueOf(key).equals(value), key).to.equal(true)
      }
    }
    expect(cluster.master.stats().keyCount).to.equal(OBJECTS)
  })

  it('tells a master that has restarted of both tiers, and forgets in both what is removed', async () => {
    await cluster.node('a', { tiers: tiers() })
    const client = await cluster.client()
    for (const key of keys) await client.put(key, valueOf(key))
    for (const key of keys.slice(0, 8)) await client.get(key)
    await cluster.stopMaster()
    await until(() => client.directoryState === 'away')
    await cluster.restartMaster()
    await until(() => cluster.master.stats().keyCount === OBJECTS, { deadlineMs: 10_000 })
    await until(() => client.directoryState === 'connected', { deadlineMs: 10_000 })
    expect(await client.removeMany(keys)).to.satisfy((removed: boolean[]) => removed.every(Boolean))
    await until(() => slow.usedBytes === 0)
    expect((await client.existsMany(keys)).some(Boolean)).to.equal(false)
  })

  it('announces what a slow tier has kept from an earlier life', async () => {
    const kept = new MapTier(2 * OBJECTS * OBJECT_BYTES, { persistence: true })
    for (const [index, key] of keys.entries()) {
      kept.identities.set(1000 + index, { key, generation: index + 1, byteLength: OBJECT_BYTES })
      kept.bytes.set(1000 + index, valueOf(key))
    }
    slow = kept
    await cluster.node('a', { tiers: tiers() })
    const client = await cluster.client()
    await until(() => cluster.master.stats().keyCount === OBJECTS)
    for (const key of keys) expect(valueOf(key).equals((await client.get(key))!), key).to.equal(true)
  })

  it('stays in the tier it was put into without a scheduler', async () => {
    await cluster.node('a', { tiers: tiers(), scheduler: false })
    const client = await cluster.client()
    for (const key of keys) await client.put(key, valueOf(key))
    expect(slow.writes).to.equal(0)
    const exists = await client.existsMany(keys)
    expect(exists.filter(Boolean).length).to.be.below(OBJECTS / 2)
  })
})
