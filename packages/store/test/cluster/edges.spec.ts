import { expect } from 'chai'
import { hasCode, type Completion, type Transfer } from '@mooncake-ts/core'
import { randomBytes, rejectsWith } from '@mooncake-ts/testkit'
import type { Store } from '@mooncake-ts/store'
import { TestCluster, threeStores, WAYS } from './support.js'

async function failuresOf(transfer: Transfer): Promise<unknown[]> {
  const failures: unknown[] = []
  transfer.completions$.subscribe({
    next: ({ error }: Completion) => void (error != null && failures.push(error)),
    error: () => {},
  })
  await transfer.done
  return failures
}

for (const { way, options } of WAYS) {
  describe(`edges of what can be asked for, moved ${way}`, () => {
    let cluster: TestCluster
    let stores: Record<'a' | 'b' | 'client', Store>

    before(async () => {
      cluster = await TestCluster.start()
      stores = await threeStores(cluster, options)
    })
    after(() => cluster[Symbol.asyncDispose]())
    afterEach(() => stores.client.removeAll())

    it('30 000 tiny objects in one batch, twice', async function () {
      this.timeout(60_000)
      const { a, client } = stores
      const entries = Array.from({ length: 30_000 }, (_, i) => ({
        key: `tiny/${i}`,
        value: Buffer.from(`${i}`),
      }))
      for (let round = 0; round < 2; round++) {
        expect(await a.putMany(entries, { deadlineMs: 60_000 }).done).to.deep.include({
          completed: 30_000,
          failed: 0,
        })
      }
      const all = Buffer.alloc(30_000 * 8)
      const into = entries.map((_, i) => all.subarray(i * 8, i * 8 + 8))
      const keys = entries.map(({ key }) => key)
      expect(await client.getMany(keys, { into, deadlineMs: 60_000 }).done).to.deep.include({
        completed: 30_000,
        failed: 0,
      })
      expect(into[29_999]!.toString().startsWith('29999')).to.equal(true)
    })

    it('a key twice in one batch: one value, in both places', async () => {
      const { client, a } = stores
      const [first, second] = [Buffer.alloc(5000, 1), Buffer.alloc(7000, 2)]
      for (const upsert of [false, true]) {
        const entries = [first, second].map(value => ({ key: `twice/${upsert}`, value }))
        expect(await client.putMany(entries, { upsert }).done).to.deep.include({ completed: 2, failed: 0 })
        const into = [Buffer.alloc(7000), Buffer.alloc(7000)]
        expect(await a.getMany([`twice/${upsert}`, `twice/${upsert}`], { into }).done).to.include({
          completed: 2,
        })
        expect(into[0]!.equals(into[1]!)).to.equal(true)
        if (upsert) expect(into[0]!.equals(second), 'the later one').to.equal(true)
      }
    })

    it('nothing at all, keys of 4096 bytes, and values of no bytes', async () => {
      const { client, a, b } = stores
      expect(await client.putMany([]).done).to.deep.equal({ completed: 0, failed: 0, bytes: 0 })
      expect(await client.getMany([], { into: [] }).done).to.deep.equal({ completed: 0, failed: 0, bytes: 0 })
      expect(await client.existsMany([])).to.deep.equal([])
      expect(await client.removeMany([])).to.deep.equal([])
      const key = 'é'.repeat(2048)
      await client.put(key, [])
      for (const store of [client, a, b]) expect(await store.get(key)).to.deep.equal(new Uint8Array(0))
      expect(await client.list()).to.deep.equal([key])
      expect(await client.remove(key)).to.equal(true)
    })

    it('a value of 1024 slices, but not of more, and its neighbours do not suffer for it', async () => {
      const { client, a } = stores
      using region = { value: client.createRegion(1025), [Symbol.dispose]: () => void region.value.close() }
      region.value.view(0, 1025).set(randomBytes(1025, 4))
      const parts = Array.from({ length: 1025 }, (_, offset) => ({
        region: region.value,
        offset,
        byteLength: 1,
      }))
      await client.put('many', parts.slice(0, 1024), { checksum: true })
      const whole = Buffer.from(region.value.view(0, 1024))
      expect(whole.equals((await a.get('many', { verify: true }))!)).to.equal(true)
      await rejectsWith(client.put('more', parts), 'ERR_INVALID_PARAMS')
    })

    it('deadlines: none that is not a positive number, and Infinity for none', async () => {
      const { client } = stores
      for (const deadlineMs of [0, -1, NaN]) {
        await rejectsWith(client.put('k', Buffer.from('x'), { deadlineMs }), 'ERR_INVALID_PARAMS')
        await rejectsWith(client.exists('k', { deadlineMs }), 'ERR_INVALID_PARAMS')
      }
      await client.put('k', Buffer.from('x'), { deadlineMs: Infinity })
      expect(Buffer.from((await client.get('k', { deadlineMs: Infinity }))!).toString()).to.equal('x')
    })

    it('the size of what another node has removed, or written anew', async () => {
      const { client, a, b } = stores
      await client.put('k', Buffer.alloc(10))
      for (const store of [client, a, b]) expect(await store.size('k')).to.equal(10)
      await a.upsert('k', Buffer.alloc(20))
      for (const store of [client, a, b]) expect(await store.size('k')).to.equal(20)
      await b.remove('k')
      for (const store of [client, a, b]) expect(await store.size('k')).to.equal(undefined)
    })

    it('more replicas than nodes, the caller being one of them', async () => {
      const { a, b, client } = stores
      const value = randomBytes(3000, 3)
      await a.put('k', value, { replicate: { replicaNum: 3 } })
      for (const store of [a, b, client]) expect(Buffer.compare((await store.get('k'))!, value)).to.equal(0)
      expect(
        await failuresOf(b.putMany([{ key: 'k', value }], { replicate: { replicaNum: 2 } })),
      ).to.deep.equal([])
      expect(await client.get('none').catch(error => hasCode(error, 'ERR_OBJECT_NOT_FOUND'))).to.equal(
        undefined,
      )
    })
  })
}
