import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { randomBytes, rejectsWith, until } from '@mooncake-ts/testkit'
import type { ObjectView, Store } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { tcp } from '@mooncake-ts/transport-tcp'
import { countedCalls } from '../near/counted-calls.js'
import { NEAR_DEADLINE_MS, NEAR_TEST_TIMEOUT_MS } from '../near/deadlines.js'
import { TestCluster, type NodeOptions } from './support.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

const CAPACITY_BYTES = mib(4)
const VALUE_BYTES = kib(300)
/** What is disposed of is let go long before its lease would end by itself. */
const PUT_DEADLINE_MS = 10_000
const LONG_LEASE_MS = 60_000

/** How an owner is told to keep an object where it is, what makes it so, and a lease that outlives stalls of 2 s. */
const PINNINGS = [
  { pinning: 'by a lease', isNear: false, given: { placesMax: 0 }, keyLeaseMs: 3000 },
  { pinning: 'in shared memory', isNear: true, given: {}, keyLeaseMs: 5000 },
] as const

for (const { pinning, isNear, given, keyLeaseMs } of PINNINGS)
  describe(`views, pinned ${pinning},`, function () {
    this.timeout(NEAR_TEST_TIMEOUT_MS)
    const socketDirectory = mkdtempSync(join(tmpdir(), 'views-'))
    const value = randomBytes(VALUE_BYTES, 1)
    let cluster: TestCluster
    let owner: Store
    let client: Store
    /** How often a view was asked for since none has to be; where the owner is near. */
    let askedSince: (() => number) | undefined

    async function start(limits: NodeOptions['limits'] = {}): Promise<void> {
      const transports = [shm({ socketDirectory }), tcp()]
      const { metrics, calls } = countedCalls()
      const each = { transports, limits: { keyLeaseMs: LONG_LEASE_MS, ...given, ...limits } }
      owner = await cluster.node('owner', { ...each, capacityBytes: CAPACITY_BYTES })
      client = await cluster.client('client', { ...each, metrics })
      await client.put('k', value)
      if (isNear) askedSince = await untilNear(() => calls('Client.PinKey'))
    }

    /** Until views of what the owner has need no message. Gives how many were sent since. */
    async function untilNear(calls: () => number): Promise<() => number> {
      await until(
        async () => {
          const before = calls()
          using view = await client.getView('k')
          return view != null && calls() === before
        },
        { deadlineMs: NEAR_DEADLINE_MS },
      )
      const asked = calls()
      return () => calls() - asked
    }

    /** Puts so much that everything that can be evicted is. */
    async function churn(): Promise<void> {
      for (let i = 0; i < 40; i++) await client.put(`churn-${i}`, randomBytes(VALUE_BYTES, 100 + i))
    }

    const isValue = (view: ObjectView): boolean => Buffer.from(view.bytes).equals(value)

    beforeEach(async () => {
      askedSince = undefined
      cluster = await TestCluster.start()
    })
    afterEach(async function () {
      await cluster[Symbol.asyncDispose]()
      if (askedSince != null && this.currentTest?.state === 'passed') expect(askedSince()).to.equal(0)
    })
    after(() => {
      rmSync(socketDirectory, { recursive: true })
    })

    it('show an object of another process, and one of this process, without a copy', async () => {
      await start()
      using shared = await client.getView('k')
      using local = await owner.getView('k')
      expect([shared!.source, local!.source]).to.deep.equal(['shared', 'local'])
      for (const view of [shared!, local!]) {
        expect([view.key, view.valid, isValue(view)]).to.deep.equal(['k', true, true])
      }
    })

    it('tell a miss from an empty value', async () => {
      await start()
      await client.put('empty', new Uint8Array(0))
      for (const store of [client, owner]) {
        using view = await store.getView('empty')
        expect([view!.bytes.byteLength, view!.valid]).to.deep.equal([0, true])
        expect(await store.getView('none')).to.equal(undefined)
      }
    })

    for (const where of ['client', 'owner'] as const) {
      it(`of the ${where} keep the bytes when the key is replaced, removed, and all is evicted`, async () => {
        await start()
        using view = await (where === 'client' ? client : owner).getView('k')
        await client.upsert('k', randomBytes(1000, 2))
        await churn()
        await client.remove('k')
        await churn()
        expect(isValue(view!)).to.equal(true)
        expect(view!.valid).to.equal(true)
      })
    }

    it('outlive the lease of their pin, which is renewed', async () => {
      await start({ keyLeaseMs })
      using view = await client.getView('k')
      const begun = performance.now()
      await client.remove('k')
      await until(() => performance.now() - begun > 1.2 * keyLeaseMs, { deadlineMs: 2 * keyLeaseMs })
      await churn()
      expect([isValue(view!), view!.valid]).to.deep.equal([true, true])
    })

    it('are empty once they are disposed of, and their space is used again', async () => {
      await start()
      const views = await Promise.all([client.getView('k'), client.getView('k'), owner.getView('k')])
      const parts = views.map(view => view!.bytes.subarray(10))
      await client.remove('k')
      for (const view of views) {
        view![Symbol.dispose]()
        view![Symbol.dispose]()
      }
      for (const view of views) expect([view!.bytes.byteLength, view!.valid]).to.deep.equal([0, false])
      for (const part of parts) expect(part.byteLength).to.equal(0)
      await client.put('large', new Uint8Array(CAPACITY_BYTES), { deadlineMs: PUT_DEADLINE_MS })
    })

    it('that nobody disposed of let go when they are collected', async () => {
      await start()
      await client.getView('k')
      await owner.getView('k')
      await client.remove('k')
      await until(
        () => {
          gc()
          return client.put('large', new Uint8Array(CAPACITY_BYTES), { deadlineMs: 300 }).then(
            () => true,
            () => false,
          )
        },
        { deadlineMs: PUT_DEADLINE_MS },
      )
    })

    it('of many keys come together, each with a life of its own', async () => {
      await start()
      const keys = Array.from({ length: 8 }, (_, i) => `many-${i}`)
      const values = keys.map((_, i) => randomBytes(VALUE_BYTES / 2, i))
      await client.putMany(keys.map((key, i) => ({ key, value: values[i]! }))).done
      const asked = ['none', ...keys, keys[0]!]
      const views = await client.getViews(asked)
      const expected = [undefined, ...values, values[0]!]
      views.forEach((view, i) => {
        expect(view?.key).to.equal(expected[i] && asked[i])
        expect(expected[i] == null || Buffer.from(view!.bytes).equals(expected[i])).to.equal(true)
      })
      views[1]![Symbol.dispose]()
      await client.removeMany(keys)
      await churn()
      expect(views.slice(2).map(view => [view!.source, view!.valid])).to.deep.equal(
        views.slice(2).map(() => ['shared', true]),
      )
      views.slice(2).forEach((view, i) => {
        expect(Buffer.from(view!.bytes).equals(expected[i + 2]!)).to.equal(true)
        view![Symbol.dispose]()
      })
      await client.put('large', new Uint8Array(CAPACITY_BYTES), { deadlineMs: PUT_DEADLINE_MS })
    })

    it('are copies where no transport can show the bytes', async () => {
      owner = await cluster.node('owner', { transports: [shm({ socketDirectory }), tcp()] })
      client = await cluster.client('client', { transports: [tcp()] })
      await client.put('k', value)
      using view = await client.getView('k')
      await client.remove('k')
      expect([view!.source, isValue(view!), view!.valid]).to.deep.equal(['copy', true, true])
      expect(await client.getView('none')).to.equal(undefined)
    })

    it('are copies where the other end of shared memory is not to be found', async () => {
      const elsewhere = mkdtempSync(join(tmpdir(), 'views-'))
      owner = await cluster.node('owner', { transports: [shm({ socketDirectory }), tcp()] })
      client = await cluster.client('client', {
        transports: [shm({ socketDirectory: elsewhere }), tcp()],
      })
      await client.put('k', value)
      using view = await client.getView('k')
      expect([view!.source, isValue(view!)]).to.deep.equal(['copy', true])
      rmSync(elsewhere, { recursive: true })
    })

    it('become invalid, but stay readable, when their owner stops', async () => {
      await start()
      using view = await client.getView('k')
      await owner.close()
      expect(view!.valid).to.equal(false)
      expect(view!.bytes.byteLength).to.equal(VALUE_BYTES)
    })

    it('are disposed of when their store closes', async () => {
      await start()
      const views = [await client.getView('k'), await owner.getView('k')]
      await client.close()
      await owner.close()
      for (const view of views) expect([view!.bytes.byteLength, view!.valid]).to.deep.equal([0, false])
    })

    it('are limited in number', async () => {
      await start({ viewsMax: 2 })
      using first = await client.getView('k')
      using second = await client.getView('k')
      await rejectsWith(() => client.getView('k'), 'ERR_OVERLOADED')
      second![Symbol.dispose]()
      using third = await client.getView('k')
      expect([first!.valid, third!.valid]).to.deep.equal([true, true])
    })
  })
