import { expect } from 'chai'
import {
  BaseTier,
  definePlugin,
  errorCode,
  mib,
  TIER,
  type Tier,
  type TierReadOp,
  type TierWriteOp,
} from '@mooncake-ts/core'
import { randomBytes, rejectsWith, until } from '@mooncake-ts/testkit'
import { TestCluster } from './support.js'

/** Keeps objects in memory of its own and, where told so, gives them back damaged. */
class ShelfTier extends BaseTier {
  readonly #shelf = new Map<number, Uint8Array>()
  readonly #damaged: boolean

  constructor({ damaged }: { readonly damaged: boolean }) {
    super({ name: 'shelf', kind: 'SHELF', capacityBytes: mib(1) })
    this.#damaged = damaged
  }

  protected async _write(id: number, { from }: TierWriteOp): Promise<number> {
    this.#shelf.set(id, Uint8Array.from(from.region.view(from.offset, from.byteLength)))
    return await Promise.resolve(from.byteLength)
  }

  protected async _read(id: number, { offset, into }: TierReadOp): Promise<number> {
    const bytes = this.#shelf.get(id)!.slice(offset, offset + into.byteLength)
    if (this.#damaged) bytes[0]! ^= 1
    into.region.view(into.offset, into.byteLength).set(bytes)
    return await Promise.resolve(bytes.byteLength)
  }

  protected async _delete(id: number): Promise<void> {
    this.#shelf.delete(id)
    await Promise.resolve()
  }
}

const shelf = definePlugin<Tier, { damaged: boolean }>({
  name: 'shelf',
  provides: TIER,
  useFactory: options => new ShelfTier(options),
})

describe('replicas', () => {
  let cluster: TestCluster
  beforeEach(async () => {
    cluster = await TestCluster.start()
  })
  afterEach(() => cluster[Symbol.asyncDispose]())

  it('are written to as many nodes as asked for, and read from another when one is gone', async () => {
    const a = await cluster.node('a')
    const b = await cluster.node('b')
    const client = await cluster.client()
    const value = randomBytes(10_000, 1)
    await client.put('k', value, { replicate: { replicaNum: 2 } })
    await a.close()
    expect(Buffer.compare((await client.get('k'))!, value)).to.equal(0)
    expect(Buffer.compare((await b.get('k'))!, value)).to.equal(0)
  })

  it('are fewer where there are fewer nodes', async () => {
    await cluster.node('a')
    const client = await cluster.client()
    await client.put('k', Buffer.from('x'), { replicate: { replicaNum: 5 } })
    expect(Buffer.from((await client.get('k'))!).toString()).to.equal('x')
  })

  it('go to the preferred segments first', async () => {
    const [a, , c] = [await cluster.node('a'), await cluster.node('b'), await cluster.node('c')]
    const client = await cluster.client()
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`)
    const replicate = { preferredSegments: ['b/dram-0'] }
    await client.putMany(
      keys.map(key => ({ key, value: Buffer.from(key) })),
      { replicate },
    ).done
    await Promise.all([a.close(), c.close()])
    const values = await Promise.all(keys.map(key => client.get(key)))
    expect(values.map(value => Buffer.from(value!).toString())).to.deep.equal(keys)
  })

  it('that come back damaged are not used when the caller verifies', async () => {
    await cluster.node('bad', { tiers: [shelf({ damaged: true })] })
    const client = await cluster.client()
    await client.put('only-bad', Buffer.from('value'), { checksum: true })
    await rejectsWith(client.get('only-bad', { verify: true }), 'ERR_CHECKSUM_MISMATCH')
    await cluster.node('good', { tiers: [shelf({ damaged: false })] })
    await until(async () => {
      await client.upsert('both', Buffer.from('value'), { checksum: true, replicate: { replicaNum: 2 } })
      return cluster.master.stats().keyCount === 2
    })
    const value = await client.get('both', { verify: true })
    expect(Buffer.from(value!).toString()).to.equal('value')
  })

  it('that are pinned hard outlive any pressure; the rest makes room', async () => {
    await cluster.node('a', { capacityBytes: mib(4) })
    const client = await cluster.client()
    const value = Buffer.alloc(64 * 1024)
    await client.put('hard', value, { replicate: { hardPin: true } })
    await client.put('soft', value, { replicate: { softPin: true } })
    for (let i = 0; i < 200; i++) await client.put(`plain/${i}`, value)
    expect(await client.existsMany(['hard', 'soft', 'plain/0', 'plain/199'])).to.deep.equal([
      true,
      true,
      false,
      true,
    ])
  })

  it('find no room among hard pins: the put waits, and fails by its deadline with a retryable code', async () => {
    await cluster.node('a', { capacityBytes: mib(1) })
    const client = await cluster.client()
    const value = Buffer.alloc(100 * 1024)
    for (let i = 0; i < 9; i++) await client.put(`hard/${i}`, value, { replicate: { hardPin: true } })
    const waiting = client.put('k', Buffer.alloc(300 * 1024), { deadlineMs: 300 })
    await rejectsWith(waiting, 'ERR_NO_AVAILABLE_HANDLE')
    const patient = client.put('k', Buffer.alloc(300 * 1024), { deadlineMs: 10_000 })
    await client.removeByRegex('hard/[0-4]')
    await patient
    expect(await client.exists('k')).to.equal(true)
  })

  it('that a node has lost without a word are found out by the first read, and forgotten', async () => {
    const a = await cluster.node('a', { capacityBytes: mib(1) })
    const client = await cluster.client()
    await client.put('k', Buffer.alloc(1000))
    await client.get('k')
    await a.removeAll()
    expect(await client.get('k').catch(errorCode)).to.equal(undefined)
    expect(await client.exists('k')).to.equal(false)
  })
})
