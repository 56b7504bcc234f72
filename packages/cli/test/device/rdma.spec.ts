import { expect } from 'chai'
import { kib, METRICS, mib, value, type Plugin, type Transport } from '@mooncake-ts/core'
import { createMaster, masterClient, type Master } from '@mooncake-ts/master'
import { PrometheusMetrics } from '@mooncake-ts/metrics-prometheus'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { randomBytes } from '@mooncake-ts/testkit'
import { dram } from '@mooncake-ts/tier-dram'
import { rdma } from '@mooncake-ts/transport-rdma'
import { tcp } from '@mooncake-ts/transport-tcp'

const OBJECTS = 12
/** The virtual machine's two devices have a wire between them; an adapter talks to itself. */
const on = (deviceNames: string[]): Plugin<Transport> =>
  rdma(process.env.MOONCAKE_RDMA_GUEST === '1' ? { deviceNames } : {})

describe('a pool over RDMA', function () {
  this.timeout(120_000)
  let master: Master
  const stores: Store[] = []

  beforeEach(async () => {
    master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), admin: false, heartbeatMs: 200 })
  })
  afterEach(async () => {
    for (const store of stores.splice(0).reverse()) await store.close()
    await master.close()
  })

  async function join(
    name: string,
    transports: Plugin<Transport>[],
    more: { tier?: boolean; transferDirection?: 'forward' | 'reverse' } = {},
  ): Promise<{ store: Store; metrics: PrometheusMetrics }> {
    const metrics = new PrometheusMetrics({})
    const { tier = false, ...options } = more
    const store = await createStore({
      name,
      transports,
      master: masterClient({ endpoints: [master.rpcEndpoint] }),
      metrics: value(METRICS, metrics),
      tiers: tier ? [dram({ name: 'dram', capacityBytes: mib(32) })] : [],
      limits: { inlineBytesMax: 0, deadlineMs: 50_000 },
      ...options,
    })
    stores.push(store)
    return { store, metrics }
  }

  async function movedBy(transport: string, ...nodes: PrometheusMetrics[]): Promise<number> {
    let bytes = 0
    for (const metrics of nodes) {
      const { body } = await metrics.expose()
      const pattern = new RegExp(`transport_${transport}_bytes_total\\{[^}]*\\} (\\d+)`, 'g')
      for (const [, count] of body.matchAll(pattern)) bytes += Number(count)
    }
    return bytes
  }

  async function putAndGet(client: Store): Promise<void> {
    const objects = Array.from({ length: OBJECTS }, (_, i) =>
      randomBytes(i % 3 === 0 ? mib(1) : kib(40) + i, i),
    )
    await Promise.all(objects.map((bytes, i) => client.put(`key-${i}`, bytes, { checksum: true })))
    const read = await Promise.all(objects.map((_, i) => client.get(`key-${i}`)))
    read.forEach((bytes, i) => {
      expect(bytes != null && Buffer.compare(bytes, objects[i]!) === 0, `object ${i}`).to.equal(true)
    })
  }

  for (const transferDirection of ['reverse', 'forward'] as const) {
    it(`moves every byte over RDMA, ${transferDirection}`, async () => {
      const options = { transferDirection }
      const node = await join('node', [on(['rxe0']), tcp()], { tier: true, ...options })
      const client = await join('client', [on(['rxe1']), tcp()], options)
      await putAndGet(client.store)
      expect(await movedBy('rdma', node.metrics, client.metrics)).to.be.above(mib(8))
      expect(await movedBy('tcp', node.metrics, client.metrics)).to.equal(0)
    })
  }

  it('goes on over TCP with a node that has no RDMA', async () => {
    const node = await join('node', [tcp()], { tier: true })
    const client = await join('client', [on(['rxe1']), tcp()])
    await putAndGet(client.store)
    expect(await movedBy('tcp', node.metrics, client.metrics)).to.be.above(mib(8))
    expect(await movedBy('rdma', node.metrics, client.metrics)).to.equal(0)
  })
})
