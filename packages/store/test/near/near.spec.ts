import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { randomBytes, until } from '@mooncake-ts/testkit'
import type { Store } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { tcp } from '@mooncake-ts/transport-tcp'
import { TestCluster, type NodeOptions } from '../cluster/support.js'
import { countedReads } from './counted-reads.js'
import { NEAR_DEADLINE_MS, NEAR_TEST_TIMEOUT_MS } from './deadlines.js'
import { lru } from '../../dist/policies/index.js'

const VALUE_BYTES = kib(300)

describe('neighbours', function () {
  this.timeout(NEAR_TEST_TIMEOUT_MS)
  const socketDirectory = mkdtempSync(join(tmpdir(), 'near-'))
  let cluster: TestCluster
  let owner: Store
  let client: Store
  let reads: () => number

  async function start(options: NodeOptions = {}): Promise<void> {
    const transports = [shm({ socketDirectory }), tcp()]
    const counted = countedReads()
    reads = counted.reads
    owner = await cluster.node('owner', { transports, ...options })
    client = await cluster.client('client', { transports, metrics: counted.metrics })
  }

  /** Until what the owner has is read without asking it. */
  async function untilNear(key: string): Promise<void> {
    await until(
      async () => {
        const before = reads()
        await client.get(key)
        return reads() > before
      },
      { deadlineMs: NEAR_DEADLINE_MS },
    )
  }

  beforeEach(async () => {
    cluster = await TestCluster.start()
  })
  afterEach(() => cluster[Symbol.asyncDispose]())
  after(() => {
    rmSync(socketDirectory, { recursive: true })
  })

  it('are read without a message, also what was there before and what comes later', async () => {
    await start()
    const values = Array.from({ length: 40 }, (_, i) => randomBytes(i % 2 === 0 ? VALUE_BYTES : 1000, i))
    const put = (from: number, to: number): Promise<unknown> =>
      client.putMany(values.slice(from, to).map((value, i) => ({ key: `k${from + i}`, value }))).done
    await put(0, 20)
    await untilNear('k3')
    await put(20, 40)
    const before = reads()
    const into = values.map(value => new Uint8Array(value.byteLength))
    await client.getMany(
      values.map((_, i) => `k${i}`),
      { into },
    ).done
    into.forEach((bytes, i) => {
      expect(Buffer.from(bytes).equals(values[i]!)).to.equal(true)
    })
    expect(reads() - before).to.equal(values.length)
  })

  it('show at once what was put, replaced, and removed by somebody else', async () => {
    await start()
    await client.put('k', randomBytes(VALUE_BYTES, 0))
    await untilNear('k')
    for (let generation = 1; generation < 20; generation++) {
      const value = randomBytes(VALUE_BYTES, generation)
      await owner.upsert('k', value)
      expect(Buffer.from((await client.get('k'))!).equals(value)).to.equal(true)
    }
    await owner.remove('k')
    expect(await client.get('k')).to.equal(undefined)
  })

  it('give whole objects only, while these are replaced and evicted', async () => {
    await start({ capacityBytes: mib(4), limits: { placesMax: 64 } })
    const bytesOf = (n: number): Buffer => Buffer.alloc(kib(64) + n, n)
    await client.put('k0', bytesOf(1))
    await untilNear('k0')
    let stopped = false
    const write = async (): Promise<void> => {
      for (let n = 2; n < 250; n++) await owner.upsert(`k${n % 80}`, bytesOf(n))
      stopped = true
    }
    let found = 0
    const read = async (seed: number): Promise<void> => {
      for (let i = seed; !stopped; i++) {
        const bytes = await client.get(`k${i % 80}`)
        if (bytes == null) continue
        found++
        expect(Buffer.from(bytes).equals(bytesOf(bytes[0]!))).to.equal(true)
      }
    }
    await Promise.all([write(), read(0), read(27), read(54)])
    expect(found).to.be.greaterThan(10)
  })

  it('keep what their neighbours read', async () => {
    await start({ capacityBytes: mib(4), evictionPolicy: lru() })
    await client.put('read', randomBytes(VALUE_BYTES, 1))
    await untilNear('read')
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 9; j++) await owner.put(`other-${i}-${j}`, randomBytes(VALUE_BYTES, 2))
      const before = reads()
      expect(await client.get('read')).not.to.equal(undefined)
      expect(reads() - before).to.equal(1)
      const pause = performance.now() + 1100 // A use is told within a second.
      await until(() => performance.now() > pause)
    }
  })

  it('are asked where they keep no table', async () => {
    await start({ limits: { placesMax: 0 } })
    const value = randomBytes(VALUE_BYTES, 1)
    await client.put('k', value)
    for (let i = 0; i < 5; i++) expect(Buffer.from((await client.get('k'))!).equals(value)).to.equal(true)
    expect(reads()).to.equal(0)
  })

  it('that leave are not read any more', async () => {
    await start()
    await client.put('k', randomBytes(VALUE_BYTES, 1))
    await untilNear('k')
    await owner.close()
    const before = reads()
    const error: unknown = await client.get('k', { deadlineMs: 500 }).catch((cause: unknown) => cause)
    expect(error === undefined || error instanceof Error).to.equal(true)
    expect(reads()).to.equal(before)
  })
})
