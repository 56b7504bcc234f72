import { MIB } from '@mooncake-ts/core'
import { createMaster, masterClient, type Master } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { tcp } from '@mooncake-ts/transport-tcp'
import { expect } from 'chai'
import { Driver, type ReplayCounts } from '../dist/replay/driver.js'
import type { ReplayRequest } from '../dist/replay/workload.js'

const BLOCK_BYTES = 4096

describe('Driver', () => {
  let master: Master
  let node: Store
  let client: Store

  before(async () => {
    master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), admin: false, metricReportMs: 0 })
    const directory = () => masterClient({ endpoints: [master.rpcEndpoint] })
    node = await createStore({
      name: 'node',
      master: directory(),
      transports: [tcp()],
      tiers: [dram({ capacityBytes: 16 * MIB })],
    })
    client = await createStore({
      name: 'client',
      master: directory(),
      rpc: rpc({ listen: [] }),
      transports: [tcp()],
    })
  })
  after(async () => {
    await client.close()
    await node.close()
    await master.close()
  })
  afterEach(async () => {
    await node.removeAll()
  })

  async function drive(
    requests: readonly number[][],
    { requestsMax = 1000, concurrency = 1, signal = new AbortController().signal } = {},
  ): Promise<ReplayCounts> {
    const driver = new Driver(client, {
      blockBytes: BLOCK_BYTES,
      replicas: 1,
      concurrency,
      requestsMax,
      onProgress: () => {},
    })
    const all = requests.map((blockIds): ReplayRequest => ({ inputTokens: 0, blockIds }))
    await driver.run(all.values(), signal)
    return driver.counts
  }

  it('reads the leading hits and puts the rest, counting every byte', async () => {
    // 3 new; 2 leading hits and 1 new; a gap: block 1 is a hit, but behind a new one.
    const counts = await drive([[0, 1, 2], [0, 1, 3], [9, 1], []])
    expect(counts).to.deep.include({ requests: 4, blocks: 8, hits: 2, mismatches: 0, failed: 0, lost: 0 })
    expect(counts.bytesVerified).to.equal(2 * BLOCK_BYTES)
    expect(counts.bytesPut).to.equal((3 + 1 + 2) * BLOCK_BYTES)
    expect((await node.list()).sort()).to.deep.equal([0, 1, 2, 3, 9].map(id => `replay/${BLOCK_BYTES}/${id}`))
  })

  it('ends at the number of requests that was asked for, also with many at a time', async () => {
    const requests = Array.from({ length: 50 }, (_, index) => [0, index + 1])
    expect((await drive(requests, { requestsMax: 20, concurrency: 8 })).requests).to.equal(20)
    expect((await drive(requests, { concurrency: 8 })).requests).to.equal(50)
  })

  it('ends early, in good order, when its signal aborts', async () => {
    const stopping = new AbortController()
    function* endless(): Generator<ReplayRequest> {
      for (let index = 0; ; index++) {
        if (index === 10) stopping.abort()
        yield { inputTokens: 0, blockIds: [index] }
      }
    }
    const driver = new Driver(client, {
      blockBytes: BLOCK_BYTES,
      replicas: 1,
      concurrency: 2,
      requestsMax: 1e9,
      onProgress: () => {},
    })
    await driver.run(endless(), stopping.signal)
    expect(driver.counts.requests).to.be.within(10, 12)
  })

  it('takes wrong bytes for a mismatch, and a short value too', async () => {
    await client.put(`replay/${BLOCK_BYTES}/5`, Buffer.alloc(BLOCK_BYTES, 1))
    await client.put(`replay/${BLOCK_BYTES}/6`, Buffer.alloc(10, 1))
    const counts = await drive([[5], [6]])
    expect(counts.mismatches).to.equal(2)
    expect(counts.hits).to.equal(0)
  })

  it('counts what fails, and goes on', async () => {
    await client.put(`replay/${BLOCK_BYTES}/7`, Buffer.alloc(2 * BLOCK_BYTES, 1)) // Larger than a block.
    const counts = await drive([[7], [8]])
    expect(counts).to.deep.include({ requests: 2, failed: 1, mismatches: 0 })
    expect(counts.failures[0]).to.match(/^get: /)
  })

  it('passes on what is wrong with the workload', async () => {
    function* broken(): Generator<ReplayRequest> {
      yield { inputTokens: 0, blockIds: [1] }
      throw new Error('line 2')
    }
    const driver = new Driver(client, {
      blockBytes: BLOCK_BYTES,
      replicas: 1,
      concurrency: 4,
      requestsMax: 9,
      onProgress: () => {},
    })
    const failure: unknown = await driver
      .run(broken(), new AbortController().signal)
      .catch((error: unknown) => error)
    expect(failure).to.have.property('message', 'line 2')
    expect(driver.counts.requests).to.equal(1)
  })
})
