import { expect } from 'chai'
import { errorCode, hasCode, type Completion, type MooncakeError, type Transfer } from '@mooncake-ts/core'
import {
  inProcess,
  InProcessNetwork,
  randomBytes,
  rejectsWith,
  until,
  VirtualClock,
} from '@mooncake-ts/testkit'
import { TestCluster } from './support.js'

function codesOf(transfer: Transfer): string[] {
  const codes: string[] = []
  transfer.completions$.subscribe({
    next: ({ error }: Completion) => codes.push(error == null ? 'ok' : errorCode(error)),
    error: () => {},
  })
  return codes
}

/** These tests hold and break the transport, so small objects must use it too. */
const BY_TRANSPORT = { limits: { inlineBytesMax: 0 } }

describe('a store in trouble', () => {
  let cluster: TestCluster
  beforeEach(async () => {
    cluster = await TestCluster.start()
  })
  afterEach(() => cluster[Symbol.asyncDispose]())

  it('ends a get by its deadline only when nobody can write to the destination any more', async () => {
    await cluster.node('a')
    const clock = new VirtualClock()
    const client = await cluster.client('client', { clock, ...BY_TRANSPORT })
    await client.put('k', Buffer.alloc(1000, 1))
    const into = Buffer.alloc(1000, 7)
    cluster.network.hold()
    const transfer = client.getMany(['k'], { into: [into], deadlineMs: 100 })
    const codes = codesOf(transfer)
    let settled = false
    void transfer.done
      .catch(() => {})
      .then(() => {
        settled = true
      })
    await until(() => cluster.network.inFlight === 1)
    await clock.advance(300) // Well past the deadline: the operation is still on the wire.
    expect(settled, 'not at rest, so not settled').to.equal(false)
    cluster.network.release()
    await transfer.done
    expect(codes).to.deep.equal(['ERR_RPC_TIMEOUT'])
    into.fill(9)
    expect((await client.get('k'))?.[0], 'what came later has passed').to.equal(1)
    expect(
      into.every(byte => byte === 9),
      'nobody wrote after it settled',
    ).to.equal(true)
  })

  it('rejects with the reason of an aborted signal, and posts nothing when that has aborted before', async () => {
    await cluster.node('a')
    const client = await cluster.client()
    await client.put('k', Buffer.alloc(10))
    const reason = new Error('the user went away')
    const signal = AbortSignal.abort(reason)
    for (const call of [client.put('x', Buffer.alloc(1), { signal }), client.get('k', { signal })]) {
      expect(await call.catch((error: unknown) => error)).to.equal(reason)
    }
    expect(await client.exists('x')).to.equal(false)
  })

  it('goes on over the next transport when the preferred one fails', async () => {
    const [broken, sound] = [new InProcessNetwork({ scheme: 'broken' }), cluster.network]
    const transports = () => [inProcess({ network: broken }), inProcess({ network: sound })]
    await cluster.node('a', { transports: transports() })
    const client = await cluster.client('client', { transports: transports(), ...BY_TRANSPORT })
    const value = randomBytes(5000, 1)
    broken.failNext(1000)
    await client.put('k', value)
    expect(Buffer.compare((await client.get('k'))!, value)).to.equal(0)
  })

  it('fails with a retryable code when no transport moves the bytes, and nothing is kept', async () => {
    await cluster.node('a')
    const client = await cluster.client('client', BY_TRANSPORT)
    cluster.network.failNext(1)
    const error: unknown = await client.put('k', Buffer.alloc(10)).catch((cause: unknown) => cause)
    expect(hasCode(error, 'ERR_TRANSFER_FAIL') && (error as MooncakeError).retryable).to.equal(true)
    expect(await client.exists('k')).to.equal(false)
    await client.put('k', Buffer.alloc(10))
  })

  it('reads what it holds and what it has cached while the master is away', async () => {
    const a = await cluster.node('a')
    const client = await cluster.client()
    await client.put('k', Buffer.from('value'))
    await client.get('k')
    await cluster.stopMaster()
    await until(() => a.directoryState === 'away' && client.directoryState === 'away')
    expect(Buffer.from((await a.get('k'))!).toString(), 'held').to.equal('value')
    expect(Buffer.from((await client.get('k'))!).toString(), 'cached').to.equal('value')
    expect(await client.existsMany(['k', 'unknown'])).to.deep.equal([true, false])
    await rejectsWith(client.get('unknown'), 'ERR_MASTER_UNAVAILABLE')
    await a.put('new', Buffer.from('written without a master'))
    expect(await a.exists('new')).to.equal(true)
  })

  it('is known again, with all it holds, seconds after the master has restarted', async () => {
    const a = await cluster.node('a')
    const b = await cluster.node('b')
    const client = await cluster.client()
    const keys = Array.from({ length: 3000 }, (_, i) => `k/${i}`)
    await client.putMany(keys.map(key => ({ key, value: Buffer.from(key) }))).done
    await cluster.stopMaster()
    await until(() => a.directoryState === 'away')
    await a.put('meanwhile', Buffer.from('x'))
    await cluster.restartMaster()
    await until(() => cluster.master.stats().keyCount === 3001, { deadlineMs: 10_000 })
    const fresh = await cluster.client('fresh')
    expect((await fresh.existsMany([...keys, 'meanwhile'])).every(Boolean)).to.equal(true)
    expect(Buffer.from((await fresh.get('k/2999'))!).toString()).to.equal('k/2999')
    await b.removeAll()
  })

  it('refuses work once it is closed, and waits for what is under way', async () => {
    await cluster.node('a')
    const client = await cluster.client('client', BY_TRANSPORT)
    cluster.network.latencyMs = 100
    const codes = codesOf(client.putMany([{ key: 'k', value: Buffer.alloc(10) }]))
    const closed = client.close()
    expect(() => client.putMany([]))
      .to.throw()
      .with.property('code', 'ERR_SHUTTING_DOWN')
    await rejectsWith(client.exists('k'), 'ERR_SHUTTING_DOWN')
    await closed
    expect(codes).to.deep.equal(['ok'])
  })

  it('queues what is beyond its limit in flight, and says so when the queue is full', async () => {
    await cluster.node('a')
    const client = await cluster.client('client', {
      limits: { inflightBytesMax: 1000, queuedOpsMax: 2, inlineBytesMax: 0 },
    })
    cluster.network.hold()
    const transfers = Array.from({ length: 4 }, (_, i) =>
      client.putMany([{ key: `k${i}`, value: Buffer.alloc(1000) }]),
    )
    const codes = transfers.map(codesOf)
    await until(() => codes.some(([code]) => code === 'ERR_OVERLOADED'))
    cluster.network.release()
    await Promise.all(transfers.map(transfer => transfer.done))
    expect(codes.flat().sort()).to.deep.equal(['ERR_OVERLOADED', 'ok', 'ok', 'ok'])
  })
})
