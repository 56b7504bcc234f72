import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import {
  Host,
  kib,
  LOGGER,
  mib,
  noMetrics,
  RPC_CARRIER,
  RPC_SERVICE,
  silentLogger,
  value,
} from '@mooncake-ts/core'
import { rpc, type RpcOptions } from '@mooncake-ts/rpc'
import { failureOf, randomBytes, until } from '@mooncake-ts/testkit'
import { RdmaCarrier } from '../../dist/rpc/carrier.js'
import type { RpcOverRdmaOptions } from '../../dist/rpc/options.js'
import { MIRROR, NEVER } from './rpc-methods.js'
import { atEnd, cleanUp, NEEDS_GUEST, onlyInGuest, system } from './support.js'

/** A carrier on one device, and what it has of it. */
async function startCarrier(device: string, options: RpcOverRdmaOptions = {}) {
  const carrier = new RdmaCarrier(
    { deviceNames: [device], ...options },
    { logger: silentLogger, metrics: noMetrics },
  )
  await carrier.start()
  atEnd(() => carrier.stop())
  return { carrier, stats: () => carrier.stats.get(device)! }
}

async function startCaller(device: string, options: RpcOptions = {}) {
  const { carrier, stats } = await startCarrier(device)
  const host = await new Host([
    value(LOGGER, silentLogger),
    value(RPC_CARRIER, carrier),
    rpc({ connectionsPerPeer: 1, ...options }),
  ]).start()
  atEnd(() => host.stop())
  return { host, service: host.get(RPC_SERVICE), stats }
}

/** Answers calls in a process of its own; killed when the test ends. */
async function startAnswerer(
  device: string,
  listen = '127.0.0.1:0',
): Promise<{ child: ChildProcess; endpoint: string }> {
  const child = fork(fileURLToPath(new URL('rpc-peer.js', import.meta.url)), [device, listen])
  const exited = once(child, 'exit')
  atEnd(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const [endpoint] = (await once(child, 'message')) as [string]
  return { child, endpoint }
}

async function mirrored(
  client: ReturnType<Awaited<ReturnType<typeof startCaller>>['service']['connect']>,
  attachment: Buffer,
) {
  const chunks: Buffer[] = []
  const sink = () => (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes))
  await client.call(MIRROR, {}, { attachment, sink, deadlineMs: 30_000 })
  return Buffer.concat(chunks)
}

/** Sends that met a peer without a posted receive, of both devices. */
function notReadyCount(): number {
  let count = 0
  for (const device of ['rxe0', 'rxe1']) {
    for (const counter of ['rcvd_rnr_err', 'send_rnr_err', 'retry_rnr_exceeded_err']) {
      count += Number(readFileSync(`/sys/class/infiniband/${device}/ports/1/hw_counters/${counter}`, 'utf8'))
    }
  }
  return count
}

async function streams(options: RpcOverRdmaOptions) {
  const a = await startCarrier('rxe0', options)
  const b = await startCarrier('rxe1', options)
  return { a, b, ...(await pairOf(a.carrier, b.carrier)) }
}

async function pairOf(a: RdmaCarrier, b: RdmaCarrier) {
  const asking = await a.prepare()
  const answering = await b.prepare(asking.info)
  const there = await answering.connect(asking.info)
  const here = await asking.connect(answering.info)
  atEnd(() => {
    here.destroy()
    there.destroy()
  })
  return { here, there }
}

/** All that comes until its end. An iterator that destroyed the stream then would cut off what is still written. */
async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

describe('RPC over RDMA', function () {
  this.timeout(120_000)
  before(NEEDS_GUEST, onlyInGuest)
  afterEach(cleanUp)

  it('carries messages of any size, and leaves nothing behind', async () => {
    const { endpoint } = await startAnswerer('rxe1')
    const { host, service, stats } = await startCaller('rxe0')
    const client = service.connect(endpoint)
    const before = notReadyCount()
    for (const size of [0, 1, 63, kib(16) - 1, kib(16), kib(16) + 1, kib(300), mib(3)]) {
      const bytes = Buffer.from(randomBytes(size, size))
      expect((await mirrored(client, bytes)).equals(bytes), `${size} bytes`).to.equal(true)
    }
    expect(stats()).to.deep.equal({ memoryRegions: 1, queuePairs: 1, streams: 1 })
    expect(notReadyCount()).to.equal(before)
    await host.stop()
    expect(stats()).to.deep.equal({ memoryRegions: 0, queuePairs: 0, streams: 0 })
  })

  it('holds a sender up whose peer does not read, in both directions at once', async () => {
    const slots = { slots: 4, slotBytes: 1024, sendBytes: 4096 }
    const { a, b, here, there } = await streams(slots)
    const before = notReadyCount()
    const bytes = Buffer.from(randomBytes(mib(1), 5))
    for (const stream of [here, there]) {
      stream.write(bytes)
      stream.end()
    }
    // While as much goes by beside them they would move, too, if they could.
    const beside = await pairOf(a.carrier, b.carrier)
    beside.here.end(bytes)
    beside.there.end()
    expect((await readAll(beside.there)).equals(bytes)).to.equal(true)
    for (const stream of [here, there]) {
      expect(stream.readableFlowing).to.equal(null)
      expect(stream.writableLength).to.equal(bytes.length) // Not taken as a whole.
      expect(stream.destroyed).to.equal(false)
    }
    for (const received of await Promise.all([readAll(here), readAll(there)])) {
      expect(received.equals(bytes)).to.equal(true)
    }
    expect(notReadyCount()).to.equal(before)
  })

  it('ends a call whose peer is killed, gives everything back, and comes back with the peer', async () => {
    const { child, endpoint } = await startAnswerer('rxe1')
    const { service, stats } = await startCaller('rxe0')
    const client = service.connect(endpoint)
    await mirrored(client, Buffer.alloc(100))
    const asked = once(child, 'message')
    const call = failureOf(client.call(NEVER, {}, { deadlineMs: 30_000 }))
    await asked
    const killedAt = performance.now()
    child.kill('SIGKILL')
    expect(await call).to.include({ code: 'ERR_RPC_FAIL' })
    expect(performance.now() - killedAt).to.be.below(5000)
    await until(() => stats().queuePairs === 0 && stats().memoryRegions === 0, { deadlineMs: 10_000 })
    await startAnswerer('rxe1', endpoint)
    expect(await mirrored(client, Buffer.from('again'))).to.deep.equal(Buffer.from('again'))
    expect(stats()).to.include({ queuePairs: 1, streams: 1 })
  })

  it('goes on over its socket while the interface is down, and over RDMA when it is back', async () => {
    const { endpoint } = await startAnswerer('rxe1')
    const { service, stats } = await startCaller('rxe0', {
      keepAliveMs: 1000,
      idleConnectionMs: 2000,
      backoffMinMs: 10,
    })
    const client = service.connect(endpoint)
    await mirrored(client, Buffer.alloc(100))
    atEnd(() => system('ip', 'link', 'set', 'a0', 'up'))
    system('ip', 'link', 'set', 'a0', 'down')
    const works = async (): Promise<boolean> => {
      const answer = await mirrored(client, Buffer.from('still')).catch(() => Buffer.alloc(0))
      return answer.equals(Buffer.from('still'))
    }
    await until(works, { deadlineMs: 20_000 })
    expect(stats().queuePairs).to.equal(0)
    system('ip', 'link', 'set', 'a0', 'up')
    await until(async () => (await works()) && stats().queuePairs === 1, { deadlineMs: 30_000 })
  })

  it('gives up a connection that is being made, and leaves nothing behind', async () => {
    const a = await startCarrier('rxe0')
    const b = await startCarrier('rxe1')
    const asking = await a.carrier.prepare()
    const answering = await b.carrier.prepare(asking.info)
    const connecting = failureOf(asking.connect(answering.info)) // Nobody answers there.
    asking.discard()
    expect(await connecting).to.include({ code: 'ERR_RPC_FAIL' })
    answering.discard()
    const nothing = { memoryRegions: 0, queuePairs: 0, streams: 0 }
    for (const { stats } of [a, b]) await until(() => stats().streams === 0, { deadlineMs: 10_000 })
    expect([a.stats(), b.stats()]).to.deep.equal([nothing, nothing])
    expect(await failureOf(asking.connect(answering.info))).to.include({ code: 'ERR_RPC_FAIL' })
  })

  it('refuses what is no description of a stream, and stays on sockets beyond streamsMax', async () => {
    const { a, b, here } = await streams({ streamsMax: 1 })
    expect(a.carrier.ready).to.equal(false)
    expect(await failureOf(a.carrier.prepare())).to.include({ code: 'ERR_RPC_FAIL' })
    here.destroy()
    await until(() => a.carrier.ready)
    // Places in `ConnectionInfo` and `StreamInfo` of native/core.
    const damages: ReadonlyArray<(info: Buffer) => Buffer> = [
      info => info.subarray(1),
      info => Buffer.concat([info, Buffer.alloc(1)]),
      info => info.fill(0, 0, 4), // What it is.
      info => info.fill(6, 5, 6), // The MTU.
      info => info.fill(2, 48, 49), // How many queue pairs.
      info => info.fill(0, 192, 196), // How many slots,
      info => info.fill(0, 196, 200), // and their size.
    ]
    for (const damage of damages) {
      await until(() => a.carrier.ready)
      const end = await a.carrier.prepare()
      const damaged = damage(Buffer.from(end.info))
      expect(await failureOf(end.connect(damaged))).to.include({
        code: 'ERR_RPC_FAIL',
        message: 'The peer sent no description of a stream',
      })
    }
    await until(() => a.stats().queuePairs === 0)
    await until(() => b.stats().queuePairs <= 1)
  })
})
