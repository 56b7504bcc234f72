import { expect } from 'chai'
import { until } from '@mooncake-ts/testkit'
import type { Store } from '@mooncake-ts/store'
import { TestCluster, threeStores, WAYS } from './support.js'

async function textOf(store: Store, key: string): Promise<string> {
  return Buffer.from((await store.get(key)) ?? []).toString()
}

/** Puts that follow each other do not ask the directory for a route: what holds for the others holds for them. */
for (const { way, options } of [WAYS[0], WAYS[1]])
  describe(`puts with a lease, ${way}`, () => {
    let cluster: TestCluster
    let stores: Record<'a' | 'b' | 'client', Store>

    before(async () => {
      cluster = await TestCluster.start()
      stores = await threeStores(cluster, options)
    })
    after(() => cluster[Symbol.asyncDispose]())

    /** The first put asks for a lease; while puts go on there is one. */
    async function warm(): Promise<void> {
      for (const [name, store] of Object.entries(stores)) {
        for (let i = 0; i < 5; i++) await store.put(`warm/${name}/${i}`, Buffer.alloc(10))
      }
    }

    it('are found by everybody when they have settled, and keep what is there', async () => {
      await warm()
      const keys = Array.from({ length: 100 }, (_, i) => `found/${i}`)
      await Promise.all(keys.map((key, i) => stores.client.put(key, Buffer.alloc(100, i))))
      await Promise.all(keys.map((key, i) => stores.a.put(key, Buffer.alloc(100, i + 1))))
      for (const store of Object.values(stores)) {
        for (const [i, key] of keys.entries()) expect((await store.get(key))?.[0], key).to.equal(i)
      }
    })

    it('stay after a remove, and after an upsert that was removed', async () => {
      await warm()
      const writers = Object.values(stores)
      for (let i = 0; i < 60; i++) {
        const [one, other] = [writers[i % 3]!, writers[(i + 1) % 3]!]
        const key = `again/${i % 2}`
        if (i % 4 < 2) await other.upsert(key, Buffer.from('upserted'))
        await other.remove(key)
        await one.put(key, Buffer.from(`put ${i}`))
        for (const store of writers) expect(await textOf(store, key)).to.equal(`put ${i}`)
      }
    })

    it('agree on the first of racing puts, whoever reads when', async () => {
      await warm()
      const writers = Object.values(stores)
      for (let round = 0; round < 20; round++) {
        const key = `race/${round}`
        const seen = new Set<number>()
        const racing = writers.map(async (store, i) => {
          await store.put(key, Buffer.alloc(1000, i + 1))
          for (const byte of (await store.get(key))!) seen.add(byte)
        })
        await Promise.all(racing)
        for (const store of writers) for (const byte of (await store.get(key))!) seen.add(byte)
        expect([...seen], key).to.have.length(1)
      }
    })

    it('go on by routes while the master is away, and with leases when it is back', async () => {
      await warm()
      await cluster.stopMaster()
      await until(() => stores.a.directoryState === 'away')
      await stores.a.put('away', Buffer.from('x'))
      await cluster.restartMaster()
      await until(() => Object.values(stores).every(store => store.directoryState === 'connected'), {
        deadlineMs: 10_000,
      })
      await until(async () => await stores.client.exists('away'))
      await stores.client.put('back', Buffer.from('y'))
      expect(await textOf(stores.b, 'back')).to.equal('y')
    })
  })
