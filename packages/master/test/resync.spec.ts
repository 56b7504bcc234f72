import { expect } from 'chai'
import { Host, RPC_SERVICE, type DirectoryHandlers, type ReplicaAdd } from '@mooncake-ts/core'
import { handleNode } from '../dist/client/node-service.js'
import { RemoveLocal } from '../dist/protocol.js'
import { ReplicaFeed, type ReplicaReport } from '../dist/client/replica-feed.js'
import { rpc } from '@mooncake-ts/rpc'
import { until } from '@mooncake-ts/testkit'
import { Cleanup, failure, FakeNode, startMaster } from './support.js'

describe('Resync', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  it('makes a new master complete, while reports go on', async () => {
    const first = await startMaster()
    const a = cleanup.add(await FakeNode.join('a', first, { resyncBatchKeys: 100 }))
    const b = cleanup.add(await FakeNode.join('b', first))
    await a.put(Array.from({ length: 3000 }, (_, i) => `key-${i}`))
    await b.put(['on b'])
    await first.close()
    const second = cleanup.add(await startMaster({ rpc: rpc({ listen: [first.rpcEndpoint], drainMs: 200 }) }))
    // As the store does: what is refused while the node is about to register is said again.
    await until(async () => (await failure(a.put(['live']))) === 'no error')
    a.held.delete('key-2999')
    await a.directory.syncReplicas([], [{ key: 'key-2999', segment: a.segment, generation: 1 }])
    await until(() => second.stats().keyCount === 3001)
    expect(await b.directory.exists(['key-0', 'key-2998', 'key-2999', 'live', 'on b'])).to.deep.equal([
      true,
      true,
      false,
      true,
      true,
    ])
  })

  it('drops what is stale or too much at the node', async () => {
    const master = cleanup.add(await startMaster({ maxClientPerKey: 1 }))
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['newer'], 5)
    await a.put(['same'], 1)
    const late = cleanup.add(await FakeNode.start('late', [master.rpcEndpoint]))
    for (const key of ['newer', 'same', 'own']) {
      late.held.set(key, { key, byteLength: 100, generation: 1, segment: late.segment })
    }
    await late.join()
    await until(() => late.held.size === 1)
    expect([...late.held.keys()]).to.deep.equal(['own'])
  })

  it('is begun again when the master forgot the node', async () => {
    const master = cleanup.add(await startMaster({ clientTtlMs: 60, clientCrashedTtlMs: 120 }))
    const a = cleanup.add(await FakeNode.join('a', master))
    await a.put(['k'])
    const segments = a.segments.bind(a)
    a.segments = () => {
      throw new Error('silent')
    }
    await until(() => master.stats().keyCount === 0)
    a.segments = segments
    await until(() => master.stats().keyCount === 1)
  })

  it('removes at nodes that have not told everything yet', async () => {
    const master = cleanup.add(await startMaster())
    const a = cleanup.add(await FakeNode.start('a', [master.rpcEndpoint], { resyncBatchKeys: 1 }))
    const client = cleanup.add(await FakeNode.join('client', master, { pureClient: true }))
    for (let i = 0; i < 2000; i++) {
      const key = `key-${String(i).padStart(4, '0')}`
      a.held.set(key, { key, byteLength: 1, generation: 1, segment: a.segment })
    }
    await a.join()
    expect(await client.directory.exists(['key-1998', 'key-1999'])).to.deep.equal([false, false])
    expect(await client.directory.remove(['key-1999', 'nobody'])).to.deep.equal([true, false])
    expect(await client.directory.removeByRegex('^key-1')).to.equal(999)
    expect(a.held.size).to.equal(1000)
    expect(await client.directory.removeAll()).to.equal(1000)
    expect(a.held.size).to.equal(0)
    await until(() => master.stats().keyCount === 0)
    expect(await client.directory.list()).to.deep.equal([])
  })
})

describe('ReplicaFeed', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  const add = (key: string, generation = 1): ReplicaAdd => ({ key, generation, byteLength: 1, segment: 's' })

  /** Answers only when told to, and notes what it was sent. */
  class Wire {
    readonly reports: ReplicaReport[] = []
    readonly #answers: Array<() => void> = []
    readonly send = (report: ReplicaReport): Promise<Uint8Array> => {
      this.reports.push(report)
      return new Promise(resolve => {
        this.#answers.push(() => resolve(new Uint8Array(report.adds.keys.length)))
      })
    }

    async answerNext(): Promise<void> {
      await until(() => this.#answers.length > 0)
      this.#answers.shift()!()
    }
  }

  const handlersWith = (snapshot: () => Iterable<ReplicaAdd>): DirectoryHandlers => ({
    removeLocal: () => Promise.resolve(0),
    removeWhere: () => Promise.resolve(0),
    segments: () => [],
    snapshot,
  })

  it('sends one report at a time, in order and numbered', async () => {
    const wire = new Wire()
    const feed = new ReplicaFeed(wire.send, 10)
    const first = feed.sync([add('a')], [])
    const second = feed.sync([add('b')], [{ key: 'a', segment: 's', generation: 1 }])
    await wire.answerNext()
    expect(wire.reports).to.have.length(1)
    await first
    await wire.answerNext()
    await second
    expect(
      wire.reports.map(report => [report.sequence, report.adds.keys, report.removes.keys]),
    ).to.deep.equal([
      [1, ['a'], []],
      [2, ['b'], ['a']],
    ])
  })

  it('cuts what is too long for one report, and says no removal before the last add', async () => {
    const sizes: Array<[adds: number, removes: number]> = []
    const feed = new ReplicaFeed(({ adds, removes }) => {
      sizes.push([adds.keys.length, removes.keys.length])
      return Promise.resolve(Uint8Array.from(adds.keys, key => Number(key === 'stale')))
    }, 10)
    const removal = (_: unknown, i: number) => ({ key: `r${i}`, segment: 's', generation: 1 })
    const adds = Array.from({ length: 5000 }, (_, i) => add(i === 4999 ? 'stale' : `a${i}`))
    const results = await feed.sync(adds, Array.from({ length: 5000 }, removal))
    expect(sizes).to.deep.equal([
      [4096, 0],
      [904, 3192],
      [0, 1808],
    ])
    expect([results.length, results.indexOf('stale')]).to.deep.equal([5000, 4999])
  })

  it('leaves out of the snapshot what was removed since it was taken', async () => {
    const wire = new Wire()
    const feed = new ReplicaFeed(wire.send, 2)
    const eager = ['a', 'b', 'c', 'd'].map(key => add(key, key === 'd' ? 2 : 1))
    const resync = feed.resync(
      handlersWith(() => eager),
      new AbortController().signal,
    )
    await until(() => wire.reports.length === 1)
    const removing = feed.sync(
      [],
      [
        { key: 'c', segment: 's', generation: 1 },
        { key: 'd', segment: 's', generation: 1 },
      ],
    )
    for (let i = 0; i < 3; i++) await wire.answerNext()
    await Promise.all([removing, resync])
    expect(wire.reports.map(report => report.adds.keys).flat()).to.deep.equal(['a', 'b', 'd'])
  })

  it('takes a batch when it is sent, not before', async () => {
    const wire = new Wire()
    const feed = new ReplicaFeed(wire.send, 10)
    const held = new Set(['a', 'b'])
    const blocking = feed.sync([add('x')], [])
    const resync = feed.resync(
      handlersWith(() => [...held].map(key => add(key))),
      new AbortController().signal,
    )
    held.delete('b')
    await wire.answerNext()
    await wire.answerNext()
    await Promise.all([blocking, resync])
    expect(wire.reports[1]?.adds.keys).to.deep.equal(['a'])
  })

  it('lets the master hear of earlier reports before the answer to a removal', async () => {
    const host = await new Host([rpc({ listen: ['127.0.0.1:0'] })]).start()
    cleanup.add({ close: () => host.stop() })
    const service = host.get(RPC_SERVICE)
    const wire = new Wire()
    const feed = new ReplicaFeed(wire.send, 10)
    const events: string[] = []
    const handlers = {
      ...handlersWith(() => []),
      removeLocal: () => {
        events.push('dropped')
        return Promise.resolve(1)
      },
    }
    handleNode(service, handlers, feed)
    void feed.sync([add('k')], []).then(() => events.push('reported'))
    const order = { keys: ['k'], generationsMax: [1] }
    const removing = service.connect(service.endpoints[0]!).call(RemoveLocal, order)
    const answered = removing.then(({ removed }) => events.push(`answered ${removed[0]}`))
    await until(() => events.length > 0)
    for (let turns = 0; turns < 50; turns++) await new Promise(setImmediate)
    await wire.answerNext()
    await answered
    expect(events).to.deep.equal(['dropped', 'reported', 'answered 1'])
  })

  it('has a barrier behind what was queued, also when that fails', async () => {
    let fail: (error: Error) => void = () => {}
    const feed = new ReplicaFeed(() => new Promise((_resolve, reject) => (fail = reject)), 10)
    const failing = failure(feed.sync([add('a')], []))
    let passed = false
    const barrier = feed.barrier().then(() => (passed = true))
    await new Promise(setImmediate)
    expect(passed).to.equal(false)
    fail(new Error('lost'))
    await barrier
    expect(await failing).to.equal('ERR_INTERNAL')
  })
})
