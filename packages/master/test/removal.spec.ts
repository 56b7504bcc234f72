import { expect } from 'chai'
import { until } from '@mooncake-ts/testkit'
import { Cleanup, failure, FakeNode, startMaster } from './support.js'

describe('Removals', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  async function cluster(config: Parameters<typeof startMaster>[0] = {}) {
    const master = cleanup.add(await startMaster(config))
    const a = cleanup.add(await FakeNode.join('a', master))
    const b = cleanup.add(await FakeNode.join('b', master))
    const client = cleanup.add(await FakeNode.join('client', master, { pureClient: true }))
    return { master, a, b, client }
  }

  it('reach every owner before they settle', async () => {
    const { a, b, client } = await cluster()
    await a.put(['one', 'both'])
    await b.put(['both', 'kept'])
    expect(await client.directory.remove(['one', 'nobody', 'both'])).to.deep.equal([true, false, true])
    expect([...a.held.keys(), ...b.held.keys()]).to.deep.equal(['kept'])
    expect(await client.directory.exists(['one', 'both', 'kept'])).to.deep.equal([false, false, true])
  })

  it('by a pattern, of what matches', async () => {
    const { a, b, client } = await cluster()
    await a.put(['model-1/x', 'model-2/x'])
    await b.put(['model-1/x', 'model-1/y'])
    expect(await client.directory.removeByRegex('^model-1/')).to.equal(2)
    expect([...a.held.keys(), ...b.held.keys()]).to.deep.equal(['model-2/x'])
    expect(await client.directory.list()).to.deep.equal(['model-2/x'])
    expect(await client.directory.removeByRegex('^nothing$')).to.equal(0)
  })

  it('of everything', async () => {
    const { a, b, client } = await cluster()
    await a.put(Array.from({ length: 500 }, (_, i) => `key-${i}`))
    await b.put(['key-0', 'more'])
    expect(await client.directory.removeAll()).to.equal(501)
    expect(a.held.size + b.held.size).to.equal(0)
    expect(await client.directory.list()).to.deep.equal([])
    await a.put(['new'])
    expect(await client.directory.exists(['new'])).to.deep.equal([true])
  })

  it('leave a newer generation alone that was put meanwhile', async () => {
    const { a, client } = await cluster()
    await a.put(['k'], 1)
    a.onRemoveLocal = async () => {
      a.onRemoveLocal = () => {}
      await a.put(['k'], 2)
    }
    await client.directory.remove(['k'])
    expect(a.held.get('k')?.generation).to.equal(2)
    expect(await client.directory.exists(['k'])).to.deep.equal([true])
  })

  it('keep what is put while everything is being removed', async () => {
    const { a, client } = await cluster()
    await a.put(['old'])
    const removeWhere = a.removeWhere.bind(a)
    a.removeWhere = async pattern => {
      const removed = await removeWhere(pattern)
      await a.put(['new'])
      return removed
    }
    expect(await client.directory.removeAll()).to.equal(1)
    expect(await client.directory.exists(['old', 'new'])).to.deep.equal([false, true])
  })

  it('cannot be undone by a report that was on its way', async () => {
    const { a, client } = await cluster()
    await a.put(['k'])
    let late: Promise<unknown> = Promise.resolve()
    a.onRemoveLocal = () => {
      late = a.directory.syncReplicas([a.held.get('k')!], [])
    }
    expect(await client.directory.remove(['k'])).to.deep.equal([true])
    await late
    expect(await client.directory.exists(['k'])).to.deep.equal([false])
  })

  it('say which owner could not be reached, and keep its route', async () => {
    const { a, b, client } = await cluster({ clientTtlMs: 60_000, clientCrashedTtlMs: 120_000 })
    await a.put(['on a'])
    await b.put(['on b'])
    await a.crash()
    const error: unknown = await client.directory.remove(['on a', 'on b']).catch((thrown: unknown) => thrown)
    expect(error).to.include({ code: 'ERR_RPC_FAIL' })
    expect((error as Error).message).to.match(/could not be reached: a$/)
    expect(b.held.size).to.equal(0)
    expect(await client.directory.exists(['on a', 'on b'])).to.deep.equal([true, false])
    expect(await failure(client.directory.removeAll())).to.equal('ERR_RPC_FAIL')
  })

  it('reach a silent node when it comes back', async () => {
    const { master, a, b, client } = await cluster({ clientTtlMs: 100, clientCrashedTtlMs: 60_000 })
    await a.put(['removed', 'matched', 'kept'])
    await b.put(['removed'])
    const resume = pauseHeartbeats(a)
    await until(() => master.stats().disconnectedNodes === 1)
    expect(await client.directory.remove(['removed'])).to.deep.equal([true])
    expect(await client.directory.removeByRegex('^mat')).to.equal(1)
    expect(a.held.has('removed')).to.equal(true, 'nobody could tell it yet')
    expect(master.stats().tombstones).to.equal(2)
    resume()
    await until(() => !a.held.has('removed') && !a.held.has('matched'))
    expect(await client.directory.exists(['removed', 'matched', 'kept'])).to.deep.equal([false, false, true])
  })

  it('reach a node that comes back as a new process with its old content', async () => {
    const { master, a, client } = await cluster({ clientTtlMs: 100, clientCrashedTtlMs: 200 })
    await a.put(['removed', 'kept'])
    await a.crash()
    await until(() => master.stats().disconnectedNodes === 1)
    expect(await client.directory.remove(['removed'])).to.deep.equal([true])
    const heir = cleanup.add(await FakeNode.start('a', [master.rpcEndpoint]))
    for (const [key, add] of a.held) heir.held.set(key, add)
    await heir.join()
    await until(() => !heir.held.has('removed'))
    await until(async () => (await client.directory.exists(['kept']))[0]!)
    expect(await client.directory.exists(['removed'])).to.deep.equal([false])
    await until(() => master.stats().tombstones === 0)
    expect(await heir.put(['removed'], 1)).to.deep.equal(['ok'], 'it may be put again')
  })
})

/** The node does not answer, nor beat, until the returned function is called. */
function pauseHeartbeats(node: FakeNode): () => void {
  const segments = node.segments.bind(node)
  let silent = true
  node.segments = () => {
    if (silent) throw new Error('silent')
    return segments()
  }
  return () => {
    silent = false
  }
}
