import { expect } from 'chai'
import { Host, RPC_SERVICE } from '@mooncake-ts/core'
import { Exists, Heartbeat, Register } from '../dist/protocol.js'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { until } from '@mooncake-ts/testkit'
import { Cleanup, failure, FakeNode, startMaster } from './support.js'

describe('A master and its nodes', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  it('knows what nodes report, and routes readers to it', async () => {
    const master = cleanup.add(await startMaster())
    const [a, b] = [
      cleanup.add(await FakeNode.join('a', master)),
      cleanup.add(await FakeNode.join('b', master)),
    ]
    const reader = cleanup.add(await FakeNode.join('reader', master, { pureClient: true }))
    expect(await a.put(['x', 'y'])).to.deep.equal(['ok', 'ok'])
    expect(await b.put(['y', 'z'])).to.deep.equal(['ok', 'ok'])
    expect(await reader.directory.exists(['x', 'nobody', 'z'])).to.deep.equal([true, false, true])
    const [x, none, y] = await reader.directory.readRoutes(['x', 'nobody', 'y'])
    expect(x).to.deep.equal({
      byteLength: 100,
      generation: 1,
      replicas: [{ nodeId: a.info.nodeId, rpcEndpoint: a.info.rpcEndpoint, segment: 'a/dram' }],
    })
    expect(none).to.equal(undefined)
    expect(y?.replicas.map(replica => replica.segment)).to.have.members(['a/dram', 'b/dram'])
    expect(await reader.directory.list()).to.have.members(['x', 'y', 'z'])
    expect(await reader.directory.list({ prefix: 'z' })).to.deep.equal(['z'])
    expect(await reader.directory.list({ limit: 2 })).to.have.length(2)
    expect(master.stats()).to.include({ keyCount: 3, healthyNodes: 3, disconnectedNodes: 0 })
  })

  it('takes calls of any size', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    const keys = Array.from({ length: 20_000 }, (_, i) => `key-${i}`)
    expect(new Set(await a.put(keys))).to.deep.equal(new Set(['ok']))
    const found = await a.directory.exists([...keys, 'nobody'])
    expect(found.filter(there => there)).to.have.length(20_000)
    expect(found.at(-1)).to.equal(false)
    expect((await a.directory.readRoutes(keys)).at(-1)?.byteLength).to.equal(100)
    expect(await a.directory.list()).to.have.length(20_000)
    expect((await a.directory.remove(keys)).every(removed => removed)).to.equal(true)
    expect(a.held.size).to.equal(0)
    expect(await a.directory.exists([])).to.deep.equal([])
  })

  it('offers places for writes, and says who has the key already', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    await b.put(['there'])
    const request = { byteLength: 10, candidatesMax: 5, preferredSegments: ['b/dram'] }
    const [there, fresh, huge] = await a.directory.writeRoutes([
      { ...request, key: 'there' },
      { ...request, key: 'new', candidatesMax: 1 },
      { ...request, key: 'huge', byteLength: 2 ** 40 },
    ])
    expect(there?.existing?.replicas.map(replica => replica.nodeId)).to.deep.equal([b.info.nodeId])
    expect(there?.candidates.map(candidate => candidate.nodeName)).to.deep.equal(['b', 'a'])
    expect(fresh?.existing).to.equal(undefined)
    expect(fresh?.candidates.map(candidate => candidate.rpcEndpoint)).to.deep.equal([b.info.rpcEndpoint])
    expect(huge?.candidates).to.deep.equal([])
  })

  it('gives leave to write ahead: places, and numbers that nobody else has', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    const lease = { count: 1000, byteLengthMax: 10, candidatesMax: 5 }
    const [one, other] = await Promise.all([a.directory.leaseWrites!(lease), b.directory.leaseWrites!(lease)])
    const first = one.firstGeneration < other.firstGeneration ? one : other
    const second = first === one ? other : one
    expect(second.firstGeneration).to.be.at.least(first.firstGeneration + lease.count)
    const request = { key: 'k', byteLength: 10, candidatesMax: 1, preferredSegments: [] }
    const [route] = await a.directory.writeRoutes([request])
    expect(route?.generation).to.be.at.least(second.firstGeneration + lease.count)
    expect(one.candidates.map(({ nodeName }) => nodeName).sort()).to.deep.equal(['a', 'b'])
    const none = await a.directory.leaseWrites!({ ...lease, byteLengthMax: 2 ** 40 })
    expect(none.candidates).to.deep.equal([])
    const error: unknown = await a.directory.leaseWrites!({ ...lease, count: 1e9 }).catch(
      (cause: unknown) => cause,
    )
    expect(error).to.include({ code: 'ERR_INVALID_PARAMS' })
  })

  it('answers stale to an older generation, and tells owners of an older one to drop it', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    await a.put(['k', 'other'], 1)
    expect(await b.put(['k'], 2)).to.deep.equal(['ok'])
    const [route] = await a.directory.readRoutes(['k'])
    expect(route?.replicas.map(replica => replica.segment)).to.deep.equal(['b/dram'])
    await until(() => !a.held.has('k'))
    expect(a.held.has('other')).to.equal(true)
    expect(await a.put(['k'], 1)).to.deep.equal(['stale'])
    expect(b.held.get('k')?.generation).to.equal(2)
  })

  it('limits owners where it is told to', async () => {
    const master = cleanup.add(await startMaster({ maxClientPerKey: 1 }))
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    expect(await a.put(['k'])).to.deep.equal(['ok'])
    expect(await b.put(['k', 'free'])).to.deep.equal(['exceeded', 'ok'])
  })

  it('drops a route that proved wrong, and not a newer replica', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['evicted'], 1)
    await a.put(['renewed'], 2)
    await a.directory.reportStale([
      { key: 'evicted', nodeId: a.info.nodeId },
      { key: 'renewed', nodeId: a.info.nodeId, generation: 1 },
      { key: 'renewed', nodeId: 'somebody else' },
    ])
    expect(await a.directory.exists(['evicted', 'renewed'])).to.deep.equal([false, true])
  })

  it('ignores a removal of a generation that was replaced', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['k'], 2)
    await a.directory.syncReplicas([], [{ key: 'k', segment: a.segment, generation: 1 }])
    expect(await a.directory.exists(['k'])).to.deep.equal([true])
    await a.directory.syncReplicas([], [{ key: 'k', segment: a.segment, generation: 2 }])
    expect(await a.directory.exists(['k'])).to.deep.equal([false])
  })

  it('takes a silent node out of routes, back at its heartbeat, and forgets a crashed one', async () => {
    const master = cleanup.add(await startMaster({ clientTtlMs: 100, clientCrashedTtlMs: 250 }))
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    await a.put(['only a', 'both'])
    await b.put(['both'])
    await a.crash()
    await until(() => master.stats().disconnectedNodes === 1)
    expect(await b.directory.exists(['only a', 'both'])).to.deep.equal([false, true])
    const [route] = await b.directory.readRoutes(['both'])
    expect(route?.replicas.map(replica => replica.segment)).to.deep.equal(['b/dram'])
    expect(master.stats().keyCount).to.equal(2)
    await until(() => master.stats().keyCount === 1)
    expect(master.stats()).to.include({ healthyNodes: 1, disconnectedNodes: 0 })
  })

  it('forgets a node that leaves, and knows it again when it joins', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    await a.put(['k'])
    await a.directory.leave()
    expect(await b.directory.exists(['k'])).to.deep.equal([false])
    expect(await failure(a.directory.exists(['k']))).to.equal('ERR_MASTER_UNAVAILABLE')
    await a.join()
    await until(async () => (await b.directory.exists(['k']))[0]!)
  })

  it('drops what the former life of a restarted node held', async () => {
    const master = cleanup.add(await startMaster({ clientTtlMs: 10_000, clientCrashedTtlMs: 30_000 }))
    const former = cleanup.add(await FakeNode.join('n', master))
    await former.put(['old'])
    await former.crash()
    const heir = cleanup.add(await FakeNode.join('n', master))
    expect(await heir.directory.exists(['old'])).to.deep.equal([false])
    await heir.put(['new'])
    expect(await heir.directory.exists(['new'])).to.deep.equal([true])
  })
})

describe('masterClient', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  it('wants an endpoint', () => {
    expect(() => masterClient({ endpoints: [] })).to.throw(/at least one master/)
    expect(() => masterClient({ endpoints: ['x:1'], heartbeatMs: 0 })).to.throw(/heartbeatMs/)
  })

  it('fails at once while the master is away, and is back by itself', async () => {
    const first = await startMaster()
    const endpoint = first.rpcEndpoint
    const a = cleanup.add(await FakeNode.join('a', first))
    const states: string[] = []
    a.directory.state$.subscribe(state => states.push(state))
    await a.put(['k'])
    await first.close()
    await until(() => a.directory.state === 'away')
    const begun = performance.now()
    expect(await failure(a.directory.exists(['k']))).to.equal('ERR_MASTER_UNAVAILABLE')
    expect(await failure(a.directory.syncReplicas([], []))).to.equal('no error', 'nothing to say')
    expect(await failure(a.put(['late']))).to.equal('ERR_MASTER_UNAVAILABLE')
    expect(performance.now() - begun).to.be.lessThan(1000)
    cleanup.add(await startMaster({ rpc: rpc({ listen: [endpoint], drainMs: 200 }) }))
    await until(() => a.directory.state === 'connected')
    await until(async () => {
      return (await a.directory.exists(['k', 'late'])).every(there => there)
    })
    expect(states).to.deep.equal(['connected', 'away', 'connected'])
  })

  it('lets go of calls to a master that hangs, when a heartbeat shows it', async () => {
    const host = await new Host([rpc({ listen: ['127.0.0.1:0'], drainMs: 50 })]).start()
    cleanup.add({ close: () => host.stop() })
    const hanging = host.get(RPC_SERVICE)
    let asked = false
    hanging.handle(Register, () => ({ epoch: 1, heartbeatMs: 50, clientTtlMs: 10_000 }))
    hanging.handle(Exists, () => {
      asked = true
      return new Promise(() => {})
    })
    hanging.handle(Heartbeat, () => (asked ? new Promise(() => {}) : {}))
    const options = { heartbeatDeadlineMs: 100, pureClient: true }
    const a = cleanup.add(await FakeNode.start('a', [hanging.endpoints[0]!], options))
    await a.join()
    const begun = performance.now()
    expect(await failure(a.directory.exists(['k']))).to.equal('ERR_MASTER_UNAVAILABLE')
    expect(performance.now() - begun).to.be.lessThan(5000, 'not its deadline of 10 s')
  })

  it('tries its masters in turn', async () => {
    const gone = await startMaster()
    await gone.close()
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.start('a', [gone.rpcEndpoint, master.rpcEndpoint]))
    await a.join()
    expect(a.directory.state).to.equal('connected')
    await a.put(['k'])
    expect(await a.directory.exists(['k'])).to.deep.equal([true])
  })

  it('goes on trying to join until its signal says stop', async () => {
    const gone = await startMaster()
    await gone.close()
    const a = cleanup.add(await FakeNode.start('a', [gone.rpcEndpoint]))
    const controller = new AbortController()
    const joining = a.join(controller.signal)
    await until(() => a.directory.state === 'away')
    const reason = new Error('enough')
    controller.abort(reason)
    expect(await joining.catch((error: unknown) => error)).to.equal(reason)
    const again = a.join()
    cleanup.add(await startMaster({ rpc: rpc({ listen: [gone.rpcEndpoint], drainMs: 200 }) }))
    await again
    expect(a.directory.state).to.equal('connected')
  })

  it('refuses to join twice, and a master of another mind', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    expect(await failure(a.join())).to.equal('ERR_INVALID_PARAMS')
    expect(await failure(a.directory.removeByRegex('(['))).to.equal('ERR_INVALID_PARAMS')
    expect(await failure(a.directory.exists(['']))).to.equal('ERR_INVALID_PARAMS')
  })

  it('can ask without having joined', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['k'])
    const tool = cleanup.add(await FakeNode.start('tool', [master.rpcEndpoint]))
    expect(tool.directory.state).to.equal('joining')
    expect(await tool.directory.exists(['k'])).to.deep.equal([true])
    expect(master.stats().healthyNodes).to.equal(1)
  })
})
