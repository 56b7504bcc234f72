import { expect } from 'chai'
import { hasCode, type Completion, type Transfer } from '@mooncake-ts/core'
import { randomBytes, rejectsWith, until } from '@mooncake-ts/testkit'
import type { Store } from '@mooncake-ts/store'
import { TestCluster, threeStores, WAYS } from './support.js'

async function completionsOf(transfer: Transfer): Promise<Completion[]> {
  const completions: Completion[] = []
  transfer.completions$.subscribe({ next: c => completions.push(c), error: () => {} })
  await transfer.done
  return completions.sort((a, b) => a.index - b.index)
}

for (const { way, options } of WAYS) {
  describe(`objects, moved ${way}`, () => {
    let cluster: TestCluster
    let stores: Record<'a' | 'b' | 'client', Store>

    before(async () => {
      cluster = await TestCluster.start()
      stores = await threeStores(cluster, options)
    })
    after(() => cluster[Symbol.asyncDispose]())
    afterEach(() => stores.client.removeAll())

    it('are read whole from every node once their put has settled', async () => {
      const value = randomBytes(300_000, 1)
      await stores.client.put('k', value)
      for (const store of Object.values(stores))
        expect(Buffer.from((await store.get('k'))!).equals(value)).to.equal(true)
    })

    it('tell a miss from an empty value', async () => {
      await stores.client.put('empty', new Uint8Array(0))
      expect(await stores.a.get('empty')).to.deep.equal(new Uint8Array(0))
      expect(await stores.client.get('empty')).to.deep.equal(new Uint8Array(0))
      expect(await stores.client.get('none')).to.equal(undefined)
      expect(await stores.client.getInto('none', new Uint8Array(1))).to.equal(undefined)
      expect(await stores.client.size('none')).to.equal(undefined)
      expect(await stores.client.size('empty')).to.equal(0)
    })

    it('keep their value when they are put again', async () => {
      await stores.client.put('k', Buffer.from('first'))
      await stores.a.put('k', Buffer.from('second'))
      await stores.b.put('k', Buffer.from('third'))
      for (const store of Object.values(stores))
        expect(Buffer.from((await store.get('k'))!).toString()).to.equal('first')
    })

    it('have the new value everywhere once an upsert has settled', async () => {
      await stores.client.put('k', Buffer.from('first'))
      for (const store of Object.values(stores)) await store.get('k')
      await stores.client.upsert('k', Buffer.from('the second, longer'))
      for (const store of Object.values(stores)) {
        expect(Buffer.from((await store.get('k'))!).toString()).to.equal('the second, longer')
      }
    })

    it('keep the first of racing puts: no reader ever sees two values', async () => {
      const writers = Object.values(stores)
      for (let round = 0; round < 40; round++) {
        const key = `first/${round}`
        // On different nodes, so that only the directory can say which came first.
        const seen = await Promise.all(
          Array.from({ length: 6 }, async (_, i) => {
            const replicate = { preferredSegments: [i % 2 === 0 ? 'a' : 'b'] }
            await writers[i % 3]!.put(key, Buffer.alloc(100 + i, i), { replicate })
            return (await writers[(i + 1) % 3]!.get(key))![0]
          }),
        )
        for (const store of writers) seen.push((await store.get(key))![0])
        expect(new Set(seen).size, `values of ${key}: ${seen.join(' ')}`).to.equal(1)
      }
    })

    it('agree on one value after racing puts and upserts from everywhere', async () => {
      const writers = Object.values(stores)
      await Promise.all(
        Array.from({ length: 30 }, (_, i) => {
          const value = Buffer.alloc(5000, i)
          return i % 2 === 0 ? writers[i % 3]!.put('race', value) : writers[i % 3]!.upsert('race', value)
        }),
      )
      // The directory tells the owners of older generations to drop them a moment after the writes have
      // settled.
      await until(async () => {
        const values = await Promise.all(writers.map(store => store.get('race')))
        for (const value of values) expect(new Set(value).size, 'one value, whole').to.equal(1)
        return new Set(values.map(value => value![0])).size === 1
      })
    })

    it('are put from several slices as one', async () => {
      const region = stores.client.createRegion(1000)
      region.view(0, 1000).set(randomBytes(1000, 2))
      const parts = [
        { region, offset: 900, byteLength: 100 },
        { region, offset: 0, byteLength: 0 },
        { region, offset: 10, byteLength: 333 },
      ]
      const whole = Buffer.concat(parts.map(part => region.view(part.offset, part.byteLength)))
      await stores.client.put('parts', parts, { checksum: true })
      expect(whole.equals((await stores.b.get('parts', { verify: true }))!)).to.equal(true)
      region.close()
    })

    it('come in batches with one completion each; a miss is one with an error', async () => {
      const entries = Array.from({ length: 600 }, (_, i) => ({
        key: `batch/${i}`,
        value: randomBytes(i * 7, i),
      }))
      expect(await stores.client.putMany(entries).done).to.include({ completed: 600, failed: 0 })
      const keys = ['nobody', ...entries.map(entry => entry.key)]
      const into = keys.map((_, i) => new Uint8Array(Math.max(0, i - 1) * 7 + 3))
      const completions = await completionsOf(stores.client.getMany(keys, { into }))
      expect(completions.map(c => c.index)).to.deep.equal(keys.map((_, i) => i))
      expect(hasCode(completions[0]!.error, 'ERR_OBJECT_NOT_FOUND')).to.equal(true)
      entries.forEach(({ value }, i) => {
        expect(completions[i + 1]).to.deep.equal({ index: i + 1, bytes: value.byteLength })
        expect(Buffer.compare(into[i + 1]!.subarray(0, value.byteLength), value)).to.equal(0)
      })
    })

    it('say in order which of many keys exist', async () => {
      await stores.a.put('here', Buffer.from('x'))
      expect(await stores.client.existsMany(['none', 'here', 'none'])).to.deep.equal([false, true, false])
      expect(await stores.a.existsMany(['here', 'none'])).to.deep.equal([true, false])
      expect(await stores.b.exists('here')).to.equal(true)
    })

    it('do not fit into a shorter destination, which stays as it was', async () => {
      await stores.a.put('k', Buffer.alloc(100, 1))
      const into = Buffer.alloc(99, 7)
      await rejectsWith(stores.client.getInto('k', into), 'ERR_BUFFER_OVERFLOW')
      await rejectsWith(stores.a.getInto('k', into), 'ERR_BUFFER_OVERFLOW')
      expect(into.every(byte => byte === 7)).to.equal(true)
    })

    it('are gone from every node when a removal has settled', async () => {
      await stores.client.putMany(['x/1', 'x/2', 'y/1'].map(key => ({ key, value: Buffer.from(key) }))).done
      for (const store of Object.values(stores)) await store.get('x/1')
      expect(await stores.client.removeMany(['x/1', 'none'])).to.deep.equal([true, false])
      for (const store of Object.values(stores)) expect(await store.get('x/1')).to.equal(undefined)
      expect(await stores.a.removeByRegex('^x/')).to.equal(1)
      expect(await stores.client.list()).to.deep.equal(['y/1'])
      expect(await stores.client.removeAll()).to.equal(1)
      expect(await stores.b.exists('y/1')).to.equal(false)
    })

    it('refuse keys and values that cannot be, with a sentence', async () => {
      await rejectsWith(stores.client.put('', Buffer.from('x')), 'ERR_INVALID_KEY')
      await rejectsWith(stores.client.get('é'.repeat(2049)), 'ERR_INVALID_KEY')
      await rejectsWith(stores.client.put('k', 'text' as unknown as Uint8Array), 'ERR_INVALID_PARAMS')
      await rejectsWith(
        stores.client.getMany(['a', 'b'], { into: [new Uint8Array(1)] }).done,
        'ERR_INVALID_PARAMS',
      )
      const region = stores.client.createRegion(10)
      const slice = { region, offset: 5, byteLength: 6 }
      await rejectsWith(stores.client.put('k', slice), 'ERR_SLICE_OUT_OF_BOUNDS')
      region.close()
      await rejectsWith(stores.client.put('k', { ...slice, byteLength: 5 }), 'ERR_REGION_CLOSED')
    })

    it('fail a verified get when they were put without a checksum', async () => {
      await stores.client.put('plain', Buffer.from('x'))
      await rejectsWith(stores.client.get('plain', { verify: true }), 'ERR_NOT_SUPPORTED')
    })
  })
}
