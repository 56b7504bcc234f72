import { expect } from 'chai'
import { createServer, type AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { KIB, MIB, type RemoteWindow } from '@mooncake-ts/core'
import { greetedSocket, hello, rawSocket, writeRequest } from './raw-client.js'
import {
  atEnd,
  bytesOf,
  cleanUp,
  codes,
  expose,
  operation,
  regionOf,
  run,
  startNode,
  startPeerProcess,
  until,
  type Logged,
  type Node,
} from './support.js'

/** Nothing of the node's own is in flight but the accept of its listener. */
const quiet = ({ engine }: Node): boolean => engine.stats().inFlight === 1

function causeCode(error: unknown): string | undefined {
  return ((error as Error).cause as { code?: string } | undefined)?.code
}

describe('failures of the peer', function () {
  this.timeout(15_000)
  afterEach(cleanUp)

  for (const kind of ['read', 'write'] as const) {
    it(`kill -9 in the middle of ${kind}s fails what was under way, at rest`, async () => {
      const near = await startNode()
      const { child, window } = await startPeerProcess(32 * MIB)
      const local = regionOf(32 * MIB)
      const small = Array.from({ length: 200 }, () =>
        operation(kind, local, window, { byteLength: 16 * KIB }),
      )
      const large = Array.from({ length: 60 }, () => operation(kind, local, window, { byteLength: 32 * MIB }))
      const began = performance.now()
      const completions = await run(near.transport, [...large, ...small], {
        onNext: () => child.kill('SIGKILL'),
      })
      expect(performance.now() - began).to.be.lessThan(5_000)
      expect(completions).to.have.length(260)
      const seen = new Set(codes(completions))
      expect(seen).to.include('ERR_TRANSFER_FAIL')
      seen.delete('OK')
      expect([...seen]).to.deep.equal(['ERR_TRANSFER_FAIL'])
      bytesOf(local).fill(5) // The memory is ours again.
      await until(() => quiet(near), 'lanes without work to notice the end')
      expect(bytesOf(local).equals(Buffer.alloc(local.byteLength, 5))).to.equal(true)
      const [later] = await run(near.transport, [large[0]!])
      expect(codes([later!])).to.deep.equal(['ERR_TRANSFER_FAIL'])
      expect((later!.error as Error).message).to.contain('ECONNREFUSED')
      await until(() => quiet(near), 'rest')
    })
  }

  it('a peer that stands still is given up', async () => {
    const near = await startNode({ operationTimeoutMs: 200 })
    const { child, window } = await startPeerProcess(8 * MIB)
    const local = regionOf(8 * MIB)
    const batch = (['read', 'write'] as const).flatMap(kind =>
      [4 * KIB, 8 * MIB].map(byteLength => operation(kind, local, window, { byteLength })),
    )
    expect(codes(await run(near.transport, batch))).to.deep.equal(['OK', 'OK', 'OK', 'OK'])
    child.kill('SIGSTOP')
    expect(codes(await run(near.transport, batch))).to.deep.equal(Array(4).fill('ERR_TRANSFER_FAIL'))
    await until(() => quiet(near), 'rest')
  })

  it('a peer that accepts and says nothing is given up', async () => {
    const near = await startNode({ connectTimeoutMs: 100 })
    const window = await silentWindow(() => {})
    const [completion] = await run(near.transport, [
      operation('read', regionOf(100), window, { byteLength: 100 }),
    ])
    expect(codes([completion!])).to.deep.equal(['ERR_TRANSFER_FAIL'])
    expect((completion!.error as Error).message).to.contain('100 ms')
    await until(() => quiet(near), 'rest')
  })

  const strangers: [string, string, Buffer][] = [
    ['another protocol', 'ERR_PROTOCOL', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['another version', 'ERR_PROTOCOL', Buffer.concat([hello(2), Buffer.alloc(100)])],
    ['no proof', 'ERR_UNAUTHENTICATED', Buffer.concat([hello(), Buffer.alloc(100)])],
  ]
  for (const [name, code, greeting] of strangers) {
    it(`a listener with ${name} is not trusted`, async () => {
      const near = await startNode()
      const window = await silentWindow(greeting)
      const [completion] = await run(near.transport, [
        operation('write', regionOf(100), window, { byteLength: 100 }),
      ])
      expect(codes([completion!])).to.deep.equal(['ERR_TRANSFER_FAIL'])
      expect(causeCode(completion!.error)).to.equal(code)
      await until(() => quiet(near), 'rest')
    })
  }

  it('are told of by a listener that has no secret to know them by', async () => {
    const saysSo = ({ logged }: { logged: readonly Logged[] }) =>
      logged.some(({ level, message }) => level === 'info' && message.includes('loopback only'))
    expect(saysSo(await startNode())).to.equal(true)
    expect(saysSo(await startNode({}, { secret: 'one', allowInsecure: false }))).to.equal(false)
  })

  it('a wrong secret is told apart at both ends', async () => {
    const near = await startNode({}, { secret: 'one', allowInsecure: false })
    const far = await startNode({}, { secret: 'other', allowInsecure: false })
    const { window } = expose(far.transport, regionOf(100))
    const [completion] = await run(near.transport, [
      operation('read', regionOf(100), window, { byteLength: 100 }),
    ])
    expect(causeCode(completion!.error)).to.equal('ERR_UNAUTHENTICATED')
    // The listener itself refuses a client that does not check.
    await greetedSocket(far.transport.endpoint, { secret: 'guessed', allowInsecure: false })
    await until(
      () => far.logged.some(({ code }) => code === 'ERR_UNAUTHENTICATED'),
      'the log of the listener',
    )
  })

  async function silentWindow(greeting: Buffer | (() => void)): Promise<RemoteWindow> {
    const server = createServer(socket => {
      socket.on('error', () => {})
      if (typeof greeting !== 'function') socket.write(greeting)
      atEnd(() => void socket.destroy())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    atEnd(() => void server.close())
    const { port } = server.address() as AddressInfo
    return { scheme: 'tcp', endpoint: `127.0.0.1:${port}`, key: new Uint8Array(24) }
  }
})

describe('strangers at the listener', function () {
  this.timeout(10_000)
  afterEach(cleanUp)

  let node: Node
  let window: RemoteWindow
  beforeEach(async () => {
    node = await startNode({ connectTimeoutMs: 150, operationTimeoutMs: 150 })
    window = expose(node.transport, regionOf(MIB)).window
  })

  async function stillServes(): Promise<void> {
    const batch = [operation('write', regionOf(MIB), window, { byteLength: MIB })]
    expect(codes(await run(node.transport, batch))).to.deep.equal(['OK'])
  }

  const garbage: [string, Buffer][] = [
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['zeros', Buffer.alloc(100_000)],
    ['another version', hello(2)],
    ['half a hello', hello().subarray(0, 20)],
    ['nothing', Buffer.alloc(0)],
  ]
  for (const [name, bytes] of garbage) {
    it(`are sent away: ${name}`, async () => {
      const { socket, closed } = await rawSocket(node.transport.endpoint)
      socket.resume()
      socket.write(bytes)
      await closed
      await until(() => node.logged.some(({ code }) => code === 'ERR_PROTOCOL'), 'the log')
      await stillServes()
    })
  }

  const malformed: [string, () => Buffer][] = [
    ['garbage', () => Buffer.alloc(200, 0xab)],
    ['more payload than announced', () => writeRequest(window, 100, 99)],
    ['too much payload', () => writeRequest(window, 100, 2 ** 40)],
    ['too many operations', () => patched(8, 100_000)],
    ['no operation', () => patched(8, 0)],
    ['an unknown kind', () => patched(24 + 44, 3)],
    ['a stripe longer than its operation', () => patched(24 + 32, 1)],
  ]
  const patched = (at: number, value: number): Buffer => {
    const bytes = writeRequest(window, 100)
    bytes.writeUInt32LE(value, at)
    return bytes
  }
  for (const [name, request] of malformed) {
    it(`lose their lane for ${name}`, async () => {
      const { socket, closed } = await greetedSocket(node.transport.endpoint)
      socket.write(request())
      await closed
      await until(() => node.logged.some(({ code }) => code === 'ERR_PROTOCOL'), 'the log')
      await stillServes()
    })
  }

  it('that stop in the middle of a write do not hold it for ever', async () => {
    const region = regionOf(MIB)
    const exposure = expose(node.transport, region)
    const { socket, closed } = await greetedSocket(node.transport.endpoint)
    socket.write(writeRequest(exposure.window, 1000))
    socket.write(Buffer.alloc(500, 7))
    await until(() => bytesOf(region)[499] === 7, 'the first half')
    await exposure.revoke()
    await closed
    await stillServes()
  })

  it('that vanish without a FIN are probed for', async () => {
    await greetedSocket(node.transport.endpoint)
    const port = Number(node.transport.endpoint.split(':')[1]).toString(16).padStart(4, '0').toUpperCase()
    // Local address, remote address, state (01: established), queues, and the timer: 02 is that of keepalive.
    const probed = new RegExp(`: [0-9A-F]{8}:${port} \\S+ 01 \\S+ 02:`)
    await until(() => probed.test(readFileSync('/proc/net/tcp', 'utf8')), 'the keepalive timer')
  })

  it('are limited in number', async () => {
    const small = await startNode({ acceptedLanesMax: 2 })
    const sockets = [1, 2, 3].map(() => rawSocket(small.transport.endpoint))
    const { closed } = (await Promise.all(sockets))[2]!
    await closed
  })
})
