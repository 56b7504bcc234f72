import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KIB, MIB } from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { until } from '@mooncake-ts/testkit'
import { shm } from '@mooncake-ts/transport-shm'
import { tcp } from '@mooncake-ts/transport-tcp'
import { expect } from 'chai'
import { Cluster } from './support/cluster.js'
import { Namespace } from './support/namespace.js'
import { Traffic } from './support/traffic.js'
import { keysOf, valueOf } from './support/values.js'
import type { ViewerArguments, ViewReport } from './support/viewer.js'

const SIZE = 300 * KIB

describe('shared memory', function () {
  this.timeout(60_000)
  let cluster: Cluster
  let socketDirectory: string

  beforeEach(() => {
    socketDirectory = mkdtempSync(join(tmpdir(), 'mooncake-shm-'))
  })
  afterEach(async () => {
    await cluster[Symbol.asyncDispose]()
    rmSync(socketDirectory, { recursive: true, force: true })
  })

  const onlyShm = (): string[] => ['--transport=shm', `--shm_directory=${socketDirectory}`]
  const connect = (...transports: Parameters<Cluster['connect']>[3] & object): Promise<Store> =>
    cluster.connect('client', {}, undefined, transports)

  async function expectMoves(store: Store, byteLength: number): Promise<void> {
    const keys = keysOf(`moved-${byteLength}`, 4)
    const entries = keys.map(key => ({ key, value: valueOf(key, byteLength) }))
    expect((await store.putMany(entries).done).failed).to.equal(0)
    const region = store.createRegion(byteLength * keys.length || 1)
    const into = keys.map((_, i) => ({ region, offset: i * byteLength, byteLength }))
    expect((await store.getMany(keys, { into }).done).failed).to.equal(0)
    for (const [i, key] of keys.entries()) {
      const value = valueOf(key, byteLength)
      expect(value.equals((await store.get(key))!)).to.equal(true)
      expect(value.equals(region.view(i * byteLength, byteLength))).to.equal(true)
    }
    region.close()
  }

  it('moves objects of any size between processes that have no other transport', async () => {
    cluster = await Cluster.start()
    await cluster.startNode('node', { args: onlyShm() })
    const store = await connect(shm({ socketDirectory }))
    for (const byteLength of [0, 1, 100 * KIB, MIB, 9 * MIB + 1]) await expectMoves(store, byteLength)
    using view = await store.getView('moved-1/0')
    expect(view!.source).to.equal('shared')
  })

  it('is left for TCP where the directory of sockets is not shared', async () => {
    cluster = await Cluster.start()
    await cluster.startNode('node', { args: [`--shm_directory=${socketDirectory}/elsewhere`] })
    const store = await connect(shm({ socketDirectory }), tcp())
    await expectMoves(store, SIZE)
    using view = await store.getView(`moved-${SIZE}/0`)
    expect(view!.source).to.equal('copy')
  })

  it('reaches a container that shares the directory, whatever its network and its paths are', async function () {
    const namespace = Namespace.create()
    if (namespace == null || !namespace.connect()) this.skip()
    using _namespace = namespace
    if (spawnSync('unshare', ['--mount', 'true']).status !== 0) this.skip()
    await using own = await Cluster.start({ secret: 'containers', host: namespace.near })
    cluster = own
    const inside = mkdtempSync(join(tmpdir(), 'mooncake-inside-'))
    const script = `mount --bind ${socketDirectory} ${inside} && exec "$@"`
    const wrapper = [...namespace.wrapper, 'unshare', '--mount', 'sh', '-c', script, 'sh']
    const args = ['--transport=shm', `--shm_directory=${inside}`]
    await cluster.startNode('container', { host: namespace.far, wrapper, args })
    const store = await connect(shm({ socketDirectory }))
    await expectMoves(store, SIZE)
    using view = await store.getView(`moved-${SIZE}/0`)
    expect(view!.source).to.equal('shared')
    rmSync(inside, { recursive: true, force: true })
  })

  it('kill -9 of a node in mid-transfer: operations end in time, on another replica; no wrong bytes', async () => {
    cluster = await Cluster.start({ masterArgs: ['--client_ttl=2', '--client_crashed_ttl=3'] })
    const args = [`--shm_directory=${socketDirectory}`]
    const [victim] = await Promise.all(
      ['node-0', 'node-1', 'node-2'].map(name => cluster.startNode(name, { args })),
    )
    const store = await connect(shm({ socketDirectory }), tcp())
    const keys = keysOf('loaded', 60)
    const entries = keys.map(key => ({ key, value: valueOf(key, SIZE) }))
    const replicate = { replicaNum: 2, hardPin: true }
    expect((await store.putMany(entries, { replicate }).done).failed).to.equal(0)
    const limits = { byteLength: SIZE, deadlineMs: 4000, concurrency: 8, batch: 8, replicaNum: 2 }
    const traffic = new Traffic(store, { keys, ...limits })
    await until(() => traffic.met.gets > 100 && traffic.met.puts > 100, { deadlineMs: 20_000 })
    victim!.server.kill('SIGKILL')
    const { gets, puts } = traffic.met
    await until(() => traffic.met.gets > gets + 100 && traffic.met.puts > puts + 100, { deadlineMs: 20_000 })
    const met = await traffic.stop()
    expect(met.wrong).to.deep.equal([])
    expect(met.misses, 'gets of keys that have a second replica').to.equal(0)
  })

  it('a view of a node that was killed stays readable, and right', async () => {
    cluster = await Cluster.start()
    const node = await cluster.startNode('node', { args: onlyShm() })
    const store = await connect(shm({ socketDirectory }))
    const value = valueOf('k', 4 * MIB)
    await store.put('k', value)
    using view = await store.getView('k')
    node.server.kill('SIGKILL')
    await node.server.exited
    expect([value.equals(view!.bytes), view!.valid]).to.deep.equal([true, true])
  })

  it('a view of a process that was stopped for too long says so, once its memory is used again', async () => {
    cluster = await Cluster.start()
    const args = [...onlyShm(), '--p2p_key_lease_duration_ms=300']
    await cluster.startNode('node', { args, capacityBytes: 8 * MIB })
    const store = await connect(shm({ socketDirectory }))
    await store.put('k', Buffer.alloc(6 * MIB, 1))
    const viewer: ViewerArguments = { masterEndpoint: cluster.masterEndpoint, socketDirectory, key: 'k' }
    const path = fileURLToPath(new URL('support/viewer.js', import.meta.url))
    const child = fork(path, [JSON.stringify(viewer)])
    try {
      const ask = async (): Promise<ViewReport> => {
        child.send('now')
        return ((await once(child, 'message')) as [ViewReport])[0]
      }
      const [first] = (await once(child, 'message')) as [ViewReport]
      expect(first).to.deep.equal({ source: 'shared', valid: true, firstByte: 1 })
      await store.remove('k')
      child.kill('SIGSTOP')
      // There is room only when the pin is gone.
      await store.put('other', Buffer.alloc(6 * MIB, 2), { deadlineMs: 20_000 })
      child.kill('SIGCONT')
      expect((await ask()).valid).to.equal(false)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
