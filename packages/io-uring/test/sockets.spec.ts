import { expect } from 'chai'
import {
  closeFd,
  createIoEngine,
  createSocket,
  errnoName,
  listenSocket,
  setSocketOptions,
  shutdownSocket,
  socketPeer,
  type Ring,
} from '@mooncake-ts/io-uring'
import { createRegion } from '@mooncake-ts/memory'
import {
  connectedPair,
  endSocket,
  forEachPlace,
  pattern,
  result,
  sameBytes,
  useDirectory,
} from './support.js'

const MIB = 1 << 20

forEachPlace('sockets', bench => {
  it('gathers on one side and scatters on the other', async () => {
    const [client, server] = await connectedPair(bench)
    const source = pattern(3000)
    const target = new Uint8Array(3000)
    const from = bench.engine.attach(source)
    const to = bench.engine.attach(target)
    const [sent, received] = await Promise.all([
      result(bench.ring, done =>
        bench.ring.send(client, [from, 0, 1000, from, 1000, 0, from, 1000, 2000], done),
      ),
      result(bench.ring, done =>
        bench.ring.recv(server, Float64Array.of(to, 0, 1, to, 1, 1999, to, 2000, 1000), done, {
          waitAll: true,
        }),
      ),
    ])
    expect([sent, received]).to.deep.equal([3000, 3000])
    expect(sameBytes(source, target)).to.equal(true)
  })

  it('moves 8 MiB between Regions in one operation each', async () => {
    const [client, server] = await connectedPair(bench)
    setSocketOptions(client, { sendBufferBytes: 64 * 1024 })
    const source = createRegion({ byteLength: 8 * MIB })
    const target = createRegion({ byteLength: 8 * MIB })
    const bytes = pattern(8 * MIB)
    source.view(0, 8 * MIB).set(bytes)
    const from = bench.engine.attach(source)
    const to = bench.engine.attach(target)
    const received = result(bench.ring, done =>
      bench.ring.recv(server, [to, 0, 8 * MIB], done, { waitAll: true }),
    )
    const sent = result(bench.ring, done => bench.ring.send(client, [from, 0, 8 * MIB], done))
    expect(await Promise.all([sent, received])).to.deep.equal([8 * MIB, 8 * MIB])
    expect(sameBytes(target.view(0, 8 * MIB), bytes)).to.equal(true)
    source.close()
    target.close()
  })

  it('receives what is there without waitAll', async () => {
    const [client, server] = await connectedPair(bench)
    const slot = bench.engine.attach(new Uint8Array(100))
    expect(await result(bench.ring, done => bench.ring.send(client, [slot, 0, 10], done))).to.equal(10)
    expect(await result(bench.ring, done => bench.ring.recv(server, [slot, 0, 100], done))).to.equal(10)
  })

  it('ends a waitAll receive short at the end of the stream, and the next with 0', async () => {
    const [client, server] = await connectedPair(bench)
    const slot = bench.engine.attach(new Uint8Array(4000))
    const received = result(bench.ring, done =>
      bench.ring.recv(server, [slot, 0, 4000], done, { waitAll: true }),
    )
    await result(bench.ring, done => bench.ring.send(client, [slot, 0, 1000], done))
    endSocket(bench, client)
    expect(await received).to.equal(1000)
    expect(await result(bench.ring, done => bench.ring.recv(server, [slot, 0, 10], done))).to.equal(0)
  })

  it('goes on after vectors longer than the kernel takes', async () => {
    const [client, server] = await connectedPair(bench)
    const pieces = 3000
    const source = pattern(pieces * 7)
    const target = new Uint8Array(pieces * 7)
    const from = bench.engine.attach(source)
    const to = bench.engine.attach(target)
    const vector = (slot: number): number[] =>
      Array.from({ length: pieces }, (_, i) => [slot, i * 7, 7]).flat()
    const received = result(bench.ring, done => bench.ring.recv(server, vector(to), done, { waitAll: true }))
    const sent = result(bench.ring, done => bench.ring.send(client, vector(from), done))
    expect(await Promise.all([sent, received])).to.deep.equal([pieces * 7, pieces * 7])
    expect(sameBytes(source, target)).to.equal(true)
  })

  it('fails a send to a peer that is gone, without a signal', async () => {
    const [client, server] = await connectedPair(bench)
    const slot = bench.engine.attach(new Uint8Array(MIB))
    shutdownSocket(server)
    endSocket(bench, server)
    let outcome = 0
    for (let i = 0; i < 100 && outcome >= 0; i++) {
      outcome = await result(bench.ring, done => bench.ring.send(client, [slot, 0, MIB], done))
    }
    expect(errnoName(outcome)).to.be.oneOf(['EPIPE', 'ECONNRESET'])
  })

  it('cancels an idle receive and an accept', async () => {
    const [, server] = await connectedPair(bench)
    const listener = listenSocket({ host: '127.0.0.1', port: 0 })
    bench.fds.push(listener.fd)
    const slot = bench.engine.attach(new Uint8Array(10))
    const ids: number[] = []
    const ended = [
      result(bench.ring, done => ids[ids.push(bench.ring.recv(server, [slot, 0, 10], done)) - 1] as number),
      result(bench.ring, done => ids[ids.push(bench.ring.accept(listener.fd, done)) - 1] as number),
    ]
    // One turn later they are in the kernel, or in epoll.
    await result(bench.engine.inline, done => bench.engine.inline.nop(done))
    for (const id of ids) bench.ring.cancel(id)
    expect((await Promise.all(ended)).map(errnoName)).to.deep.equal(['ECANCELED', 'ECANCELED'])
    // A late cancel meets nothing, not even what uses the same place now.
    const next = result(bench.ring, done => bench.ring.recv(server, [slot, 0, 10], done))
    for (const id of ids) bench.ring.cancel(id)
    shutdownSocket(server)
    expect(await next).to.equal(0)
  })

  it('ends an accept when its socket is shut down', async () => {
    const listener = listenSocket({ host: '127.0.0.1', port: 0 })
    bench.fds.push(listener.fd)
    const accepted = result(bench.ring, done => bench.ring.accept(listener.fd, done))
    await result(bench.engine.inline, done => bench.engine.inline.nop(done))
    shutdownSocket(listener.fd)
    expect(errnoName(await accepted)).to.equal('EINVAL')
  })

  it('cancels what was prepared and never submitted', async () => {
    const [, server] = await connectedPair(bench)
    const slot = bench.engine.attach(new Uint8Array(10))
    const ended = new Promise<number>(resolve => {
      bench.ring.cancel(bench.ring.recv(server, [slot, 0, 10], resolve))
    })
    expect(errnoName(await ended)).to.equal('ECANCELED')
  })

  it('submits by itself what the caller forgot', async () => {
    const [client, server] = await connectedPair(bench)
    const slot = bench.engine.attach(new Uint8Array(10))
    const received = new Promise(resolve => bench.ring.recv(server, [slot, 0, 10], resolve))
    bench.ring.send(client, [slot, 0, 10], () => {})
    expect(await received).to.equal(10)
  })

  it('reports a refused connection', async () => {
    const listener = listenSocket({ host: '127.0.0.1', port: 0 })
    closeFd(listener.fd)
    const fd = createSocket('ipv4')
    bench.fds.push(fd)
    const outcome = await result(bench.ring, done =>
      bench.ring.connect(fd, { host: '127.0.0.1', port: listener.port }, done),
    )
    expect(errnoName(outcome)).to.equal('ECONNREFUSED')
  })

  it('reports an fd that is none', async () => {
    const slot = bench.engine.attach(new Uint8Array(10))
    expect(
      errnoName(await result(bench.ring, done => bench.ring.recv(100_000, [slot, 0, 10], done))),
    ).to.equal('EBADF')
    expect(errnoName(await result(bench.ring, done => bench.ring.accept(100_000, done)))).to.equal('EBADF')
  })

  it('waits also on a socket that somebody made non-blocking', async () => {
    const listener = listenSocket({ host: '::1', port: 0 })
    const clients = [createSocket('ipv6'), createSocket('ipv6')]
    bench.fds.push(listener.fd, ...clients)
    // The threads engine makes it so; then nothing waits in the kernel by itself.
    const other = createIoEngine({ engine: 'threads' })
    const rings = [other.inline, bench.ring]
    for (const [i, fd] of clients.entries()) {
      const ring = rings[i] as Ring
      const accepted = result(ring, done => ring.accept(listener.fd, done))
      await result(ring, done => ring.nop(done))
      expect(
        await result(ring, done => ring.connect(fd, { host: '::1', port: listener.port }, done)),
      ).to.equal(0)
      const server = await accepted
      expect(server).to.be.greaterThan(0)
      expect(socketPeer(server)).to.match(/^\[::1\]:\d+$/)
      closeFd(server)
    }
    await other.close()
  })

  const directory = useDirectory()
  it('speaks over a unix socket', async () => {
    const path = directory.path(`socket-${bench.fds.length}`)
    const listener = listenSocket({ path })
    expect(listener.port).to.equal(0)
    const client = createSocket('unix', { noDelay: true })
    bench.fds.push(listener.fd, client)
    const accepted = result(bench.ring, done => bench.ring.accept(listener.fd, done))
    expect(await result(bench.ring, done => bench.ring.connect(client, { path }, done))).to.equal(0)
    const server = await accepted
    bench.fds.push(server)
    expect(socketPeer(client)).to.equal('unix')
    const slot = bench.engine.attach(new Uint8Array(10))
    const received = result(bench.ring, done =>
      bench.ring.recv(server, [slot, 0, 5], done, { waitAll: true }),
    )
    await result(bench.ring, done => bench.ring.send(client, [slot, 5, 5], done))
    expect(await received).to.equal(5)
  })
})

describe('socket helpers', () => {
  it('say what failed, with a code', () => {
    const { fd, port } = listenSocket({ host: '127.0.0.1', port: 0 })
    expect(() => listenSocket({ host: '127.0.0.1', port }))
      .to.throw()
      .with.property('code', 'ERR_ADDRESS_IN_USE')
    expect(() => listenSocket({ host: 'localhost', port: 0 }))
      .to.throw(/EINVAL/)
      .with.property('code', 'ERR_IO')
    expect(() => listenSocket({ host: '127.0.0.1', port: 70_000 }))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
    expect(() => socketPeer(fd))
      .to.throw(/ENOTCONN/)
      .with.property('code', 'ERR_IO')
    expect(() => shutdownSocket(createdAndClosed())).to.throw(/EBADF/)
    shutdownSocket(fd)
    closeFd(fd)
  })

  it('let several listen on one port with reusePort', () => {
    const first = listenSocket({ host: '127.0.0.1', port: 0, reusePort: true })
    const second = listenSocket({ host: '127.0.0.1', port: first.port, reusePort: true })
    expect(second.port).to.equal(first.port)
    closeFd(first.fd)
    closeFd(second.fd)
  })

  it('name errors', () => {
    expect(errnoName(-104)).to.equal('ECONNRESET')
    expect(errnoName(-125)).to.equal('ECANCELED')
  })
})

function createdAndClosed(): number {
  const fd = createSocket('ipv4')
  closeFd(fd)
  return fd
}
