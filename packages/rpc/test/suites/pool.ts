import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect } from 'chai'
import { Host, LOGGER, METRICS, RPC_SERVICE, value, type Metrics } from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { encodeFrame } from '../../dist/wire/codec.js'
import { FrameKind } from '../../dist/wire/frame.js'
import {
  cleanUp,
  Deferred,
  ECHO,
  endpointOf,
  failure,
  fakeServer,
  ManualClock,
  MemoryLogger,
  SLOW,
  startEcho,
  startServer,
  startService,
} from '../support.js'

export function connectionsToOneEndpoint(): void {
  afterEach(cleanUp)

  it('belong to one client', async () => {
    const { service, endpoint } = await startEcho()
    expect(service.connect(endpoint)).to.equal(service.connect(endpoint))
  })

  it('are one while calls follow each other, and at most connectionsPerPeer when they overlap', async () => {
    const { service, endpoint } = await startServer()
    const peers = new Set<string>()
    service.handle(SLOW, async (_request, { peer }) => {
      peers.add(peer)
      await new Promise(resolve => setImmediate(resolve))
      return {}
    })
    const { service: caller } = await startService({ connectionsPerPeer: 3 })
    const client = caller.connect(endpoint)
    for (let call = 0; call < 5; call++) await client.call(SLOW, {})
    expect(peers.size).to.equal(1)
    while (peers.size < 3) await Promise.all(Array.from({ length: 20 }, () => client.call(SLOW, {})))
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 20 }, () => client.call(SLOW, {})))
    }
    expect(peers.size).to.equal(3)
  })

  it('that are lost fail their calls, which are not sent again', async () => {
    let requests = 0
    const server = await fakeServer(socket => {
      requests++
      socket.destroy()
    })
    const { service } = await startService({ connectionsPerPeer: 1 })
    const client = service.connect(endpointOf(server))
    const error = await failure(() => client.call(ECHO, { text: '' }))
    expect(error).to.include({ code: 'ERR_RPC_FAIL', retryable: true })
    expect(requests).to.equal(1)
    server.close()
  })

  it('come back after the server was restarted', async () => {
    const first = await startEcho()
    const { service } = await startService({ backoffMinMs: 1, backoffMaxMs: 5 })
    const client = service.connect(first.endpoint)
    await client.call(ECHO, { text: '' })
    await first.host.stop()
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await failure(() => client.call(ECHO, { text: '' }))).to.include({ code: 'ERR_RPC_FAIL' })
    }
    await startEcho({ listen: [first.endpoint] })
    expect(await client.call(ECHO, { text: 'again' })).to.deep.equal({ text: 'again' })
  })

  it('are not tried again before the pause is over; a call waits for that, at most until its deadline', async () => {
    const clock = new ManualClock()
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const endpoint = endpointOf(closed)
    closed.close()
    await once(closed, 'close')
    const { service } = await startService({ backoffMinMs: 1000, backoffMaxMs: 1000 }, { clock })
    const client = service.connect(endpoint)
    await failure(() => client.call(ECHO, { text: '' }))

    const impatient = client.call(ECHO, { text: '' }, { deadlineMs: 100 })
    const patient = client.call(ECHO, { text: 'patient' }, { deadlineMs: 5000 })
    clock.advance(110)
    const error = await failure(() => impatient)
    expect(error).to.include({ code: 'ERR_RPC_FAIL' })
    expect((error.cause as Error).message).to.contain('ECONNREFUSED')

    await startEcho({ listen: [endpoint] })
    clock.advance(1000)
    expect(await patient).to.deep.equal({ text: 'patient' })
  })

  it('are tried for a caller who tries again at once', async () => {
    const server = await startEcho()
    await server.host.stop()
    const { service } = await startService({ backoffMinMs: 1, backoffMaxMs: 1 })
    const client = service.connect(server.endpoint)
    const again = client
      .call(ECHO, { text: '' })
      .catch(() => client.call(ECHO, { text: '' }, { deadlineMs: 86_400_000 }))
    expect(await failure(() => again)).to.include({ code: 'ERR_RPC_FAIL' })
  })

  it('whose socket takes no more refuse calls', async () => {
    const server = await fakeServer(socket => void socket.pause())
    const { service } = await startService({ outgoingBytesMax: 2 ** 18, connectionsPerPeer: 1 })
    const client = service.connect(endpointOf(server))
    const text = 'x'.repeat(2 ** 17)
    await failure(() => client.call(ECHO, { text }, { deadlineMs: 50 })) // Connects.
    const calls = Array.from({ length: 3 }, () =>
      failure(() => client.call(ECHO, { text }, { deadlineMs: 50 })),
    )
    const codes = (await Promise.all(calls)).map(error => error.code)
    expect(codes).to.include('ERR_OVERLOADED').and.to.include('ERR_RPC_TIMEOUT')
    server.close()
  })

  it('that nobody uses are closed, and opened again when needed', async () => {
    const clock = new ManualClock()
    const { service, endpoint } = await startServer()
    const peers = new Set<string>()
    service.handle(SLOW, (_request, { peer }) => {
      peers.add(peer)
      return {}
    })
    const { service: caller } = await startService({ keepAliveMs: 10, idleConnectionMs: 50 }, { clock })
    const client = caller.connect(endpoint)
    await client.call(SLOW, {})
    clock.advance(40)
    await client.call(SLOW, {})
    expect(peers.size).to.equal(1)
    clock.advance(100)
    await client.call(SLOW, {})
    expect(peers.size).to.equal(2)
  })

  it('whose peer fell silent are given up, those whose peer only takes long are not', async () => {
    const clock = new ManualClock()
    const mute = await fakeServer(() => {})
    const { service, endpoint } = await startServer()
    const begun = new Deferred()
    const release = new Deferred<object>()
    service.handle(SLOW, () => {
      begun.resolve()
      return release.promise
    })
    service.handle(ECHO, request => request)
    const { service: caller } = await startService({ keepAliveMs: 100, connectionsPerPeer: 1 }, { clock })
    const options = { deadlineMs: 60_000 }
    const slow = caller.connect(endpoint).call(SLOW, {}, options)
    await begun.promise
    const lost = failure(() => caller.connect(endpointOf(mute)).call(ECHO, { text: '' }, options))
    let settled = false
    void lost.then(() => (settled = true))
    while (!settled) {
      clock.advance(100)
      await caller.connect(endpoint).call(ECHO, { text: 'the PONG came before' }, options)
    }
    expect(await lost).to.include({ code: 'ERR_RPC_FAIL' })
    release.resolve({})
    await slow
    mute.close()
  })

  it('end with an error when a server breaks the protocol', async () => {
    const server = await fakeServer((socket, id) => {
      socket.write(encodeFrame(FrameKind.request, id, 0, []))
    })
    const { service, logger } = await startService()
    const error = await failure(() => service.connect(endpointOf(server)).call(ECHO, { text: '' }))
    expect(error).to.include({ code: 'ERR_RPC_FAIL' })
    expect(error.cause).to.include({ code: 'ERR_PROTOCOL' })
    expect(logger.withCode('ERR_PROTOCOL')).not.to.equal(undefined)
    server.close()
  })

  it('are made to a server one version newer, and not to one without a common version', async () => {
    const answer = (socket: Socket, id: number): void =>
      void socket.write(encodeFrame(FrameKind.response, id, 0, { text: 'newer' }))
    const newer = await fakeServer(answer, { protocolMin: 1, protocolMax: 2 })
    const foreign = await fakeServer(answer, { protocolMin: 2, protocolMax: 3 })
    const { service } = await startService()
    expect(await service.connect(endpointOf(newer)).call(ECHO, { text: '' })).to.deep.equal({ text: 'newer' })
    const error = await failure(() => service.connect(endpointOf(foreign)).call(ECHO, { text: '' }))
    expect(error).to.include({ code: 'ERR_PROTOCOL' })
    newer.close()
    foreign.close()
  })

  it('settle the call whose answer is not msgpack', async () => {
    const server = await fakeServer((socket, id) => {
      const frame = encodeFrame(FrameKind.response, id, 0, 'x')
      frame[frame.length - 2] = 0xc7
      socket.write(frame)
    })
    const { service } = await startService()
    const error = await failure(() => service.connect(endpointOf(server)).call(ECHO, { text: '' }))
    expect(error.cause).to.include({ code: 'ERR_PROTOCOL' })
    server.close()
  })

  for (const [retryable, code] of [
    [true, 'ERR_RPC_FAIL'],
    [false, 'ERR_INTERNAL'],
  ] as const) {
    it(`map a code of a newer server to ${code} where retryable is ${retryable}`, async () => {
      const server = await fakeServer((socket, id) => {
        socket.write(
          encodeFrame(FrameKind.failure, id, 0, { code: 'ERR_NEW', message: 'It is new', retryable }),
        )
      })
      const { service } = await startService()
      const error = await failure(() => service.connect(endpointOf(server)).call(ECHO, { text: '' }))
      expect(error).to.include({ code, retryable, message: 'It is new (ERR_NEW)' })
      server.close()
    })
  }
}

export function metrics(): void {
  afterEach(cleanUp)

  it('count calls and requests by method and outcome', async () => {
    const counts = new Map<string, number>()
    const count = (name: string) => ({
      add: (amount = 1, labels: object = {}) => {
        const line = [name, ...Object.values(labels)].join(' ')
        counts.set(line, (counts.get(line) ?? 0) + amount)
      },
    })
    const metrics: Metrics = {
      counter: ({ name }) => count(name),
      gauge: () => ({ set() {} }),
      histogram: () => ({ observe() {} }),
      expose: () => Promise.resolve({ contentType: '', body: '' }),
    }
    const host = new Host([
      value(METRICS, metrics),
      value(LOGGER, new MemoryLogger()),
      rpc({ listen: ['127.0.0.1:0'] }),
    ])
    await host.start()
    const service = host.get(RPC_SERVICE)
    service.handle(ECHO, request => request)
    const client = service.connect(service.endpoints[0]!)
    await client.call(ECHO, { text: '' })
    await failure(() => client.call(SLOW, {}))
    await host.stop()
    expect(Object.fromEntries(counts)).to.deep.equal({
      'mooncake_rpc_calls_total Test.Echo OK': 1,
      'mooncake_rpc_requests_total Test.Echo OK': 1,
      'mooncake_rpc_calls_total Test.Slow ERR_RPC_METHOD_UNKNOWN': 1,
      'mooncake_rpc_requests_total unknown ERR_RPC_METHOD_UNKNOWN': 1,
    })
  })
}
