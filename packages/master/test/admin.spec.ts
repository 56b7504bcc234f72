import { errorCode, MIB, type Logger } from '@mooncake-ts/core'
import type { Master } from '@mooncake-ts/master'
import { prometheus } from '@mooncake-ts/metrics-prometheus'
import { rpc } from '@mooncake-ts/rpc'
import { expect } from 'chai'
import { createMaster } from '@mooncake-ts/master'
import { until } from '@mooncake-ts/testkit'
import { Cleanup, failure, FakeNode, segmentInfo, startMaster } from './support.js'

describe('Admin pages', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  async function get(
    master: Master,
    path: string,
  ): Promise<{ status: number; text: string; json: () => unknown }> {
    const response = await fetch(`http://${master.httpEndpoint}${path}`)
    const text = await response.text()
    return { status: response.status, text, json: () => JSON.parse(text) as unknown }
  }

  async function cluster(): Promise<{ master: Master; a: FakeNode }> {
    const master = cleanup.add(
      await startMaster({ admin: true, metricsPort: 0, metrics: prometheus({ defaultMetrics: true }) }),
    )
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['k1', 'k2'])
    return { master, a }
  }

  it('tell of keys', async () => {
    const { master, a } = await cluster()
    expect((await get(master, '/get_all_keys')).text.split('\n').sort()).to.deep.equal(['', 'k1', 'k2'])
    expect((await get(master, '/get_all_keys?limit=1')).text).to.match(/^k[12]\n$/)
    const replica = { nodeId: a.info.nodeId, rpcEndpoint: a.info.rpcEndpoint, segment: 'a/dram' }
    const route = { byteLength: 100, generation: 1, replicas: [replica] }
    expect((await get(master, '/query_key?key=k1')).json()).to.deep.equal({ key: 'k1', ...route })
    expect((await get(master, '/batch_query_keys?keys=k1,none')).json()).to.deep.equal({
      success: true,
      data: { k1: { ok: true, ...route }, none: { ok: false, code: 'ERR_OBJECT_NOT_FOUND' } },
    })
  })

  it('tell of segments', async () => {
    const { master, a } = await cluster()
    expect((await get(master, '/get_all_segments')).text).to.equal('a/dram\n')
    const read = async (path: string) => (await get(master, path)).json()
    const told = async () => (await read('/query_segment?segment=a%2Fdram')) as { usedBytes: number }
    await until(async () => (await told()).usedBytes === 200) // By a heartbeat; nothing changes after it.
    const detail = await told()
    expect(detail).to.include({
      name: 'a/dram',
      nodeName: 'a',
      nodeId: a.info.nodeId,
      state: 'HEALTH',
      replicas: 2,
    })
    expect(await read('/get_segments_detail')).to.deep.equal({ segments: [detail] })
  })

  it('tell of the master', async () => {
    const { master } = await cluster()
    expect((await get(master, '/health')).json()).to.include({ status: 'OK', keyCount: 2 })
    expect((await get(master, '/role')).json()).to.deep.equal({ role: 'leader' })
    expect((await get(master, '/metrics/summary')).text).to.match(
      /^Master Metrics: Storage: \S+ \S+ \/ 64\.0 MiB \(\d+\.\d%\) \| Keys: 2 \| Clients: 1 \| Requests: /,
    )
    expect((await get(master, '/')).text).to.include('/get_all_segments')
  })

  it('answer mistakes with a code and a sentence', async () => {
    const { master } = await cluster()
    for (const [path, status, code] of [
      ['/nothing', 404, 'ERR_INVALID_PARAMS'],
      ['/query_key', 400, 'ERR_INVALID_PARAMS'],
      ['/query_key?key=none', 404, 'ERR_OBJECT_NOT_FOUND'],
      ['/query_segment?segment=none', 404, 'ERR_SEGMENT_NOT_FOUND'],
      ['/get_all_keys?limit=many', 400, 'ERR_INVALID_PARAMS'],
      [`/batch_query_keys?keys=${Array(1025).fill('k').join(',')}`, 400, 'ERR_INVALID_PARAMS'],
    ] as const) {
      const answer = await get(master, path)
      expect(answer.status, path).to.equal(status)
      expect(answer.json(), path).to.include({ code })
      expect((answer.json() as { message: string }).message, path).to.match(/\w+ \w+/)
    }
  })

  it('expose the metrics under the known names', async () => {
    const { master, a } = await cluster()
    await a.directory.exists(['k1'])
    await a.directory.exists(['k1', 'none'])
    await a.directory.readRoutes(['k1', 'none', 'never'])
    await failure(a.directory.removeByRegex('(['))
    await a.directory.remove(['k1'])
    const { text } = await get(master, '/metrics')
    const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN)
    expect(value('master_key_count')).to.equal(1)
    expect(value('master_active_clients')).to.equal(1)
    expect(value('master_total_capacity_bytes')).to.equal(64 * 1024 * 1024)
    expect(value('master_allocated_bytes')).to.be.within(0, 200)
    expect(value('master_exist_key_requests_total')).to.equal(1)
    expect(value('master_batch_exist_key_requests_total')).to.equal(1)
    expect(value('master_batch_exist_key_items_total')).to.equal(2)
    expect(value('master_batch_get_replica_list_partial_successes_total')).to.equal(1)
    expect(value('master_batch_get_replica_list_failed_items_total')).to.equal(2)
    expect(value('master_batch_get_replica_list_failures_total')).to.equal(0)
    expect(value('master_batch_add_replica_items_total')).to.equal(2)
    expect(value('master_remove_requests_total')).to.equal(1)
    expect(value('master_remove_by_regex_failures_total')).to.equal(1)
    expect(value('master_register_client_requests_total')).to.equal(1)
    expect(value('master_mount_segment_requests_total')).to.equal(1)
    expect(value('master_ping_failures_total')).to.equal(0)
    expect(value('master_get_write_route_requests_total')).to.equal(0)
    expect(value('master_value_size_bytes_count')).to.equal(2)
    expect(value('master_resident_memory_bytes')).to.be.greaterThan(1e6)
    expect(value('master_event_loop_lag_seconds')).to.be.within(0, 5)
  })

  it('tell memory from disks, and count segments with their nodes', async () => {
    const master = cleanup.add(await startMaster({ admin: true, metricsPort: 0, metrics: prometheus() }))
    const segments = [segmentInfo('a/dram'), segmentInfo('a/ssd', { kind: 'STORAGE' })]
    const a = cleanup.add(await FakeNode.join('a', master, { segments }))
    await a.put(['k1', 'k2'])
    const read = async (name: string): Promise<number> => {
      const { text } = await get(master, '/metrics')
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN)
    }
    await until(async () => (await read('master_allocated_bytes')) === 200) // By a heartbeat.
    expect(await read('master_allocated_file_size_bytes')).to.equal(200)
    for (const name of ['master_total_capacity_bytes', 'master_total_file_capacity_bytes']) {
      expect(await read(name), name).to.equal(64 * MIB)
    }
    expect((await get(master, '/metrics/summary')).text).to.include(
      'Storage: 200 B / 64.0 MiB (0.0%), disks 200 B / 64.0 MiB (0.0%) | Keys: 2 |',
    )
    expect(await read('master_mount_segment_requests_total')).to.equal(2)
    const impostor = await FakeNode.start('b', [master.rpcEndpoint], { segments: [segmentInfo('a/ssd')] })
    const refused = failure(impostor.join())
    await until(async () => (await read('master_mount_segment_failures_total')) > 0)
    await impostor.close()
    await refused
    expect(await read('master_unmount_segment_requests_total')).to.equal(0)
    await a.close()
    await until(async () => (await read('master_unmount_segment_requests_total')) === 2)
    expect(await read('master_total_file_capacity_bytes')).to.equal(0)
  })

  it('log that they stay on loopback, and a line of metrics now and then', async () => {
    const lines: string[] = []
    const logger: Logger = {
      debug: () => {},
      info: line => lines.push(line),
      warn: () => {},
      error: () => {},
      child: () => logger,
    }
    cleanup.add(await startMaster({ logger, metricReportMs: 20, admin: true, metricsPort: 0 }))
    expect(lines).to.include('The admin pages listen on loopback only, for there is no cluster secret')
    await until(() => lines.some(line => line.startsWith('Master Metrics: Storage: ')))
  })

  it('stay on loopback without a secret, and say when the port is taken', async () => {
    const { master } = await cluster()
    const free = () => ({ rpc: rpc({ listen: ['127.0.0.1:0'] }) })
    const open = await createMaster({ ...free(), metricsHost: '0.0.0.0', metricsPort: 0 }).catch(cause)
    expect(open).to.equal('ERR_INSECURE_BIND')
    const metricsPort = Number(master.httpEndpoint?.split(':')[1])
    expect(await createMaster({ ...free(), metricsPort }).catch(cause)).to.equal('ERR_ADDRESS_IN_USE')
  })
})

describe('createMaster', () => {
  it('checks its options', async () => {
    for (const options of [
      { shardCount: 0 },
      { remoteWeight: 2 },
      { clientTtlMs: 30_000 },
      { heartbeatMs: 9000 },
      { maxClientPerKey: -1 },
    ]) {
      expect(
        await failure(
          startMaster({
            ...options,
            heartbeatMs: options.heartbeatMs ?? 20,
            clientTtlMs: options.clientTtlMs ?? 10_000,
            clientCrashedTtlMs: 30_000,
          }),
        ),
      ).to.equal('ERR_INVALID_PARAMS')
    }
  })

  it('closes once, and says what it is made of', async () => {
    const master = await startMaster()
    expect(master.httpEndpoint).to.equal(undefined)
    expect(master.explain().map(plugin => plugin.name)).to.include('@mooncake-ts/master')
    expect(master.close()).to.equal(master.close())
    await master.close()
  })
})

/** The code of what a plugin failed to start with. */
function cause(error: unknown): string {
  return errorCode((error as Error).cause)
}
