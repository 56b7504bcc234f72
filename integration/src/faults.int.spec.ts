import { setTimeout as sleep } from 'node:timers/promises'
import { asMooncakeError, isRetryable, KIB, MIB } from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { rejectsWith, until } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { Cluster, type DataNode } from './support/cluster.js'
import { Namespace } from './support/namespace.js'
import { Traffic } from './support/traffic.js'
import { keysOf, valueOf } from './support/values.js'

/** The shortest that the master accepts: nodes are told to beat once a second. */
const QUICK = ['--client_ttl=2', '--client_crashed_ttl=3']
const SIZE = 256 * KIB

describe('faults', function () {
  this.timeout(60_000)
  let cluster: Cluster
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]()
  })

  async function putAll(store: Store, keys: readonly string[], replicate: object = {}): Promise<void> {
    const entries = keys.map(key => ({ key, value: valueOf(key, SIZE) }))
    const { failed } = await store.putMany(entries, { replicate, deadlineMs: 20_000 }).done
    expect(failed, 'failed puts').to.equal(0)
  }

  /**
   * Every key can be read, each byte of it, one after the other: what a lost node costs may be paid once, not
   * by each.
   */
  async function expectAll(store: Store, keys: readonly string[]): Promise<void> {
    const begun = performance.now()
    for (const key of keys) {
      const value = await store.get(key)
      expect(value != null && valueOf(key, SIZE).equals(value), `${key} has its bytes`).to.equal(true)
    }
    expect(performance.now() - begun).to.be.below(12_000)
  }

  async function startNodes(count: number, capacityBytes = 256 * MIB): Promise<DataNode[]> {
    return await Promise.all(
      Array.from({ length: count }, (_, index) => cluster.startNode(`node-${index}`, { capacityBytes })),
    )
  }

  it('kill -9 of a data node in mid-transfer: operations end in time, on another replica; no wrong bytes', async () => {
    cluster = await Cluster.start({ masterArgs: QUICK })
    const [victim] = (await startNodes(3)) as [DataNode]
    const store = await cluster.connect('client')
    const keys = keysOf('loaded', 120)
    await putAll(store, keys, { replicaNum: 2, hardPin: true }) // The traffic may fill the nodes.
    const traffic = new Traffic(store, {
      keys,
      byteLength: SIZE,
      deadlineMs: 4000,
      concurrency: 8,
      batch: 8,
      replicaNum: 2,
    })
    await until(() => traffic.met.gets > 100 && traffic.met.puts > 100, { deadlineMs: 15_000 })
    victim.server.kill('SIGKILL')
    expect((await victim.server.exited).signal).to.equal('SIGKILL')
    const { gets, puts } = traffic.met
    await until(() => traffic.met.gets > gets + 100 && traffic.met.puts > puts + 100, { deadlineMs: 15_000 })
    const met = await traffic.stop()
    expect(met.wrong).to.deep.equal([])
    expect(met.misses, 'gets of keys that have a second replica').to.equal(0)
    await expectAll(store, keys)

    await victim.restart()
    await cluster.untilNode(victim.name, 'HEALTH')
    const fresh = keysOf('after', 10)
    await putAll(store, fresh, { preferredSegments: [victim.name] })
    const route = JSON.parse(await cluster.admin('/query_key?key=after/0')) as {
      replicas: Array<{ segment: string }>
    }
    expect(route.replicas[0]!.segment, 'the node takes objects again').to.match(/^node-0\//)
    await expectAll(await cluster.connect('another'), fresh)
  })

  it('kill -9 of a data node: its routes are gone after client_crashed_ttl', async () => {
    cluster = await Cluster.start({ masterArgs: QUICK })
    const node = await cluster.startNode('node-0')
    const store = await cluster.connect('client')
    const keys = keysOf('lost', 5)
    await putAll(store, keys)
    node.server.kill('SIGKILL')
    const error = asMooncakeError(
      await store.get(keys[0]!, { deadlineMs: 1000 }).catch((cause: unknown) => cause),
    )
    expect(isRetryable(error), error.message).to.equal(true)
    await cluster.untilNode(node.name, undefined)
    expect(await store.existsMany(keys)).to.deep.equal(keys.map(() => false))
    expect(await store.get(keys[0]!)).to.equal(undefined)
    expect(await store.list()).to.deep.equal([])
  })

  it('kill -9 of the master: nodes and clients go on, and the next master knows every key', async () => {
    cluster = await Cluster.start()
    await startNodes(2)
    const store = await cluster.connect('client')
    const other = await cluster.connect('other')
    const keys = keysOf('known', 60)
    await putAll(store, keys)
    await expectAll(other, keys)

    cluster.master.kill('SIGKILL')
    await cluster.master.exited
    await until(() => store.directoryState === 'away' && other.directoryState === 'away')
    await expectAll(other, keys) // By the routes that it has cached.
    await putAll(store, ['meanwhile'])
    expect(await store.exists(keys[0]!)).to.equal(true)

    await cluster.startMaster()
    const all = [...keys, 'meanwhile']
    await until(async () => (await other.existsMany(all).catch(() => [false])).every(Boolean), {
      deadlineMs: 10_000,
    })
    await expectAll(await cluster.connect('newcomer'), all)
    const next = keysOf('next', 10)
    await putAll(store, next)
    await expectAll(other, next)
    expect(await other.remove(keys[0]!)).to.equal(true)
    expect(await store.exists(keys[0]!)).to.equal(false)
  })

  it('a silent data node (SIGSTOP): operations end by their deadline, at rest; it serves when it is back', async () => {
    cluster = await Cluster.start({ masterArgs: QUICK })
    const node = await cluster.startNode('node-0')
    const store = await cluster.connect('client')
    const keys = keysOf('held', 8)
    await putAll(store, keys)
    await expectAll(store, keys)
    node.server.kill('SIGSTOP')
    const into = keys.map(() => new Uint8Array(SIZE))
    const begun = performance.now()
    const get = store.getMany(keys, { into, deadlineMs: 1500 })
    const put = rejectsRetryably(store.put('new', valueOf('new', SIZE), { deadlineMs: 1500 }))
    const failures: unknown[] = []
    get.completions$.subscribe(({ error }) => {
      failures.push(error)
    })
    await Promise.all([get.done, put])
    expect(performance.now() - begun).to.be.below(1500 + 2000)
    expect(failures.length).to.equal(keys.length)
    for (const error of failures) expect(isRetryable(error), String(error)).to.equal(true)
    for (const bytes of into) bytes.fill(0x5a)

    node.server.kill('SIGCONT')
    await until(
      async () => (await store.get(keys[0]!, { deadlineMs: 1000 }).catch(() => undefined)) != null,
      {
        deadlineMs: 15_000,
      },
    )
    await expectAll(store, keys)
    for (const bytes of into) {
      expect(
        bytes.every(byte => byte === 0x5a),
        'nothing is written after the end',
      ).to.equal(true)
    }
  })

  it('a full tier: eviction, then back-pressure, then NO_AVAILABLE_HANDLE', async () => {
    cluster = await Cluster.start()
    await cluster.startNode('node-0', { capacityBytes: 32 * MIB })
    const store = await cluster.connect('client')
    for (let index = 0; index < 80; index++) await store.put(`flow/${index}`, valueOf(`flow/${index}`, MIB))
    const last = await store.get('flow/79')
    expect(valueOf('flow/79', MIB).equals(last!)).to.equal(true)
    expect(await store.exists('flow/0'), 'the oldest went').to.equal(false)

    const hardPin = { replicate: { hardPin: true } }
    let pinned = 0
    const full = await rejectsWith(async () => {
      for (; pinned <= 32; pinned++) {
        await store.put(`pin/${pinned}`, valueOf(`pin/${pinned}`, MIB), { ...hardPin, deadlineMs: 1500 })
      }
    }, 'ERR_NO_AVAILABLE_HANDLE')
    expect(isRetryable(full)).to.equal(true)
    expect(pinned).to.be.within(28, 32)

    let settled = false
    const waiting = store.put('late', valueOf('late', MIB), { deadlineMs: 15_000 }).finally(() => {
      settled = true
    })
    await sleep(300)
    expect(settled, 'it waits for room').to.equal(false)
    await store.remove('pin/0')
    await waiting
    expect(valueOf('late', MIB).equals((await store.get('late'))!)).to.equal(true)
    for (let index = 1; index < pinned; index++) {
      const value = await store.get(`pin/${index}`)
      expect(value != null && valueOf(`pin/${index}`, MIB).equals(value), `pin/${index} was kept`).to.equal(
        true,
      )
    }
  })

  it('a pulled cable: operations fail by their deadline or go to another node; plugged in again, all is well', async function () {
    const namespace = Namespace.create()
    if (namespace == null || !namespace.connect()) this.skip()
    using _namespace = namespace
    const masterArgs = ['--client_ttl=2']
    await using own = await Cluster.start({ secret: 'partition', host: namespace.near, masterArgs })
    cluster = own // Gone before the namespace is: without a network its end would take long.
    await cluster.startNode('near')
    const far = await cluster.startNode('far', { host: namespace.far, wrapper: namespace.wrapper })
    const store = await cluster.connect('client')
    const [both, alone] = [keysOf('both', 10), keysOf('alone', 4)]
    await putAll(store, both, { replicaNum: 2 })
    await putAll(store, alone, { preferredSegments: ['far'] })
    await expectAll(store, [...both, ...alone])

    namespace.pull()
    const begun = performance.now()
    await Promise.all(alone.map(key => rejectsRetryably(store.get(key, { deadlineMs: 1500 }))))
    expect(performance.now() - begun).to.be.below(1500 + 2000)
    await expectAll(store, both)
    await cluster.untilNode('far', 'DISCONNECTION')
    await putAll(store, ['while-away'])

    namespace.plug()
    await cluster.untilNode('far', 'HEALTH', 20_000)
    await until(
      async () => (await store.get(alone[0]!, { deadlineMs: 1000 }).catch(() => undefined)) != null,
      {
        deadlineMs: 20_000,
      },
    )
    await expectAll(store, [...both, ...alone, 'while-away'])
    expect(far.server.running).to.equal(true)
  })
})

async function rejectsRetryably(operation: Promise<unknown>): Promise<void> {
  const outcome = await operation.then(
    value => ({ value }),
    (error: unknown) => ({ error }),
  )
  expect(outcome).to.have.property('error')
  if ('error' in outcome) expect(isRetryable(outcome.error), String(outcome.error)).to.equal(true)
}
