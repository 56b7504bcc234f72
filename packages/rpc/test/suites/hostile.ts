import { once } from 'node:events'
import { expect } from 'chai'
import { encodeEmptyFrame, encodeFrame } from '../../dist/wire/codec.js'
import { FrameKind, HEADER_BYTES, writeHeader } from '../../dist/wire/frame.js'
import { Handshake } from '../../dist/wire/handshake.js'
import {
  cleanUp,
  Deferred,
  ECHO,
  failure,
  ManualClock,
  RawPeer,
  SLOW,
  startEcho,
  startService,
  type Service,
} from '../support.js'

const NONCE = new Uint8Array(32)
const HELLO = { protocolMin: 1, protocolMax: 1, features: [], nonce: NONCE, frameBytesMax: 2 ** 20 }

async function expectAlive({ endpoint }: Service, secret?: string): Promise<void> {
  const { service } = await startService({}, secret == null ? {} : { secret })
  expect(await service.connect(endpoint).call(ECHO, { text: 'alive' })).to.deep.equal({ text: 'alive' })
}

export function theHandshake(): void {
  afterEach(cleanUp)

  for (const [age, protocolMin, protocolMax] of [
    ['older', 0, 1],
    ['newer', 1, 2],
  ] as const) {
    it(`accepts a peer one version ${age}, with fields that it does not know`, async () => {
      const server = await startEcho()
      const peer = await RawPeer.authenticated(server.endpoint, { protocolMin, protocolMax, extra: 1 })
      peer.socket.write(encodeFrame(FrameKind.request, 1, 1000, ['Test.Echo', '', { text: age }]))
      expect(await peer.body()).to.deep.equal({ text: age })
    })
  }

  it('refuses a peer without a common version, and says so', async () => {
    const server = await startEcho()
    const peer = await RawPeer.connect(server.endpoint)
    peer.socket.write(encodeFrame(FrameKind.hello, 0, 0, { ...HELLO, protocolMin: 2, protocolMax: 3 }))
    expect(await peer.body()).to.include({ code: 'ERR_PROTOCOL' })
    await peer.ended
    expect(server.logger.withCode('ERR_PROTOCOL')?.fields['reason']).to.contain('2 to 3')
    await expectAlive(server)
  })

  for (const [what, ours, theirs] of [
    ['another secret', 'moon', 'cake'],
    ['a client without one', undefined, 'cake'],
    ['a server without one', 'moon', undefined],
  ] as const) {
    it(`fails for ${what}`, async () => {
      const server = await startEcho({}, theirs == null ? {} : { secret: theirs })
      const { service } = await startService({}, ours == null ? {} : { secret: ours })
      const error = await failure(() => service.connect(server.endpoint).call(ECHO, { text: '' }))
      expect(error).to.include({ code: 'ERR_UNAUTHENTICATED', retryable: false })
      await server.logger.wait(({ fields }) => fields['code'] === 'ERR_UNAUTHENTICATED')
      await expectAlive(server, theirs)
    })
  }

  it('succeeds with the same secret, also as two processes of one machine would', async () => {
    const server = await startEcho({}, { secret: 'moon' })
    await expectAlive(server, 'moon')
  })

  it('makes a client refuse a server that cannot prove the secret', async () => {
    // The impostor lets everybody in: it answers the client's proof with the client's own.
    const honest = new Handshake('client', { secret: 'moon', allowInsecure: false }, 2 ** 20)
    const hello = encodeFrame(FrameKind.hello, 0, 0, HELLO)
    const { reply } = honest.receive({
      kind: FrameKind.hello,
      id: 0,
      deadlineMs: 0,
      body: hello.subarray(HEADER_BYTES),
    })
    const reflected = { kind: FrameKind.proof, id: 0, deadlineMs: 0, body: reply!.subarray(HEADER_BYTES) }
    expect(await failure(() => honest.receive(reflected))).to.include({ code: 'ERR_UNAUTHENTICATED' })
  })

  it('tells a stranger no proof', async () => {
    const server = await startEcho({}, { secret: 'moon' })
    const peer = await RawPeer.connect(server.endpoint)
    peer.socket.write(encodeFrame(FrameKind.hello, 0, 0, HELLO))
    expect((await peer.frame()).kind).to.equal(FrameKind.hello)
    peer.socket.write(encodeFrame(FrameKind.proof, 0, 0, { proof: new Uint8Array(32) }))
    expect((await peer.frame()).kind).to.equal(FrameKind.goodbye)
    await peer.ended
  })

  it('has a time limit', async () => {
    const clock = new ManualClock()
    const server = await startEcho({ handshakeTimeoutMs: 20 }, { clock })
    const idle = clock.pending
    const peer = await RawPeer.connect(server.endpoint)
    while (clock.pending === idle) await new Promise(resolve => setImmediate(resolve))
    clock.advance(20)
    expect(await peer.body()).to.include({ code: 'ERR_RPC_TIMEOUT' })
    await peer.ended
    await expectAlive(server)
  })
}

const header = (kind: number, bodyBytes: number): Buffer => {
  const frame = Buffer.alloc(HEADER_BYTES)
  writeHeader(frame, kind, 1, 1000)
  frame.writeUInt32BE(bodyBytes, 8)
  return frame
}

export function aServer(): void {
  afterEach(cleanUp)

  for (const [what, bytes] of [
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['an unknown header layout', Buffer.from([0x4d, 9, ...new Uint8Array(14)])],
    ['a large HELLO', header(FrameKind.hello, 4097)],
    ['a HELLO that is not msgpack', Buffer.concat([header(FrameKind.hello, 1), Buffer.from([0xdf])])],
    ['a HELLO without nonce', encodeFrame(FrameKind.hello, 0, 0, { ...HELLO, nonce: undefined })],
    [
      'a request instead of a HELLO',
      encodeFrame(FrameKind.request, 1, 1000, ['Test.Echo', '', { text: '' }]),
    ],
    ['a proof instead of a HELLO', encodeFrame(FrameKind.proof, 0, 0, { proof: NONCE })],
    ['an unknown kind', encodeFrame(77, 0, 0, {})],
  ] as const) {
    it(`closes on ${what} before authentication, with a logged code, and lives`, async () => {
      const server = await startEcho()
      const peer = await RawPeer.connect(server.endpoint)
      peer.socket.write(bytes)
      expect(await peer.body()).to.include({ code: 'ERR_PROTOCOL' })
      await peer.ended
      expect(server.logger.withCode('ERR_PROTOCOL')?.level).to.equal('warn')
      await expectAlive(server)
    })
  }

  for (const [what, bytes] of [
    ['an oversized frame', header(FrameKind.request, 2 ** 26 + 1)],
    ['a second HELLO', encodeFrame(FrameKind.hello, 0, 0, HELLO)],
    ['a response', encodeFrame(FrameKind.response, 1, 0, {})],
    ['a request that is no array', encodeFrame(FrameKind.request, 1, 1000, { method: 'Test.Echo' })],
    ['a request that is not msgpack', Buffer.concat([header(FrameKind.request, 1), Buffer.from([0xc1])])],
    ['a frame that begins no frame', Buffer.alloc(64)],
  ] as const) {
    it(`closes on ${what}, with a logged code, and lives`, async () => {
      const server = await startEcho()
      const peer = await RawPeer.authenticated(server.endpoint)
      peer.socket.write(bytes)
      expect(await peer.body()).to.include({ code: 'ERR_PROTOCOL' })
      await peer.ended
      expect(server.logger.withCode('ERR_PROTOCOL')?.level).to.equal('warn')
      await expectAlive(server)
    })
  }

  it('logs a frame that was cut off by the end of its connection', async () => {
    const server = await startEcho()
    const peer = await RawPeer.authenticated(server.endpoint)
    peer.socket.end(header(FrameKind.request, 10))
    await server.logger.wait(({ fields }) => fields['code'] === 'ERR_PROTOCOL')
    await expectAlive(server)
  })

  it('aborts the handler at the deadline of the request, and does not answer any more', async () => {
    const server = await startEcho()
    const aborted = new Deferred<unknown>()
    server.service.handle(SLOW, async (_request, { signal }) => {
      await once(signal, 'abort')
      aborted.resolve(signal.reason)
      return {}
    })
    const peer = await RawPeer.authenticated(server.endpoint)
    peer.socket.write(encodeFrame(FrameKind.request, 1, 30, ['Test.Slow', '', {}]))
    expect(await aborted.promise).to.include({ code: 'ERR_RPC_TIMEOUT' })
    peer.socket.write(encodeFrame(FrameKind.request, 2, 1000, ['Test.Echo', '', { text: '' }]))
    expect((await peer.frame()).id).to.equal(2)
  })

  it('lets go of a peer that was refused and does not leave', async () => {
    const clock = new ManualClock()
    const server = await startEcho({}, { clock })
    const peer = await RawPeer.connect(server.endpoint, { allowHalfOpen: true })
    peer.socket.write('garbage, more than a header has')
    expect((await peer.frame()).kind).to.equal(FrameKind.goodbye)
    clock.advance(1000)
    await server.host.stop() // Waits for every socket.
  })

  it('does not answer to a request id that is in use', async () => {
    const server = await startEcho()
    server.service.handle({ ...ECHO, name: 'Test.Never' }, () => new Promise<never>(() => {}))
    const peer = await RawPeer.authenticated(server.endpoint)
    const request = encodeFrame(FrameKind.request, 5, 1000, ['Test.Never', '', { text: '' }])
    peer.socket.write(Buffer.concat([request, request]))
    expect(await peer.body()).to.include({ code: 'ERR_PROTOCOL' })
  })

  it('ignores the cancellation of what it does not know, and more elements of a request', async () => {
    const server = await startEcho()
    const peer = await RawPeer.authenticated(server.endpoint)
    peer.socket.write(encodeEmptyFrame(FrameKind.cancel, 99))
    peer.socket.write(
      encodeFrame(FrameKind.request, 5, 1000, ['Test.Echo', '', { text: 'x', y: 1 }, 'newer']),
    )
    const { kind, id } = await peer.frame()
    expect({ kind, id }).to.deep.equal({ kind: FrameKind.response, id: 5 })
  })

  it('reads no further requests while a peer does not take its answers', async () => {
    const server = await startEcho()
    let served = 0
    server.service.handle({ ...ECHO, name: 'Test.Large' }, () => {
      served++
      return { text: 'x'.repeat(2 ** 20) }
    })
    const peer = await RawPeer.authenticated(server.endpoint)
    peer.socket.pause()
    const requests = 60
    for (let id = 1; id <= requests; id++) {
      const padding = 'x'.repeat(2 ** 18)
      peer.socket.write(encodeFrame(FrameKind.request, id, 60_000, ['Test.Large', padding, { text: '' }]))
    }
    // Until it is held up: another connection is served, while this one gets nowhere.
    const { service } = await startService()
    const client = service.connect(server.endpoint)
    let before: number
    do {
      before = served
      for (let call = 0; call < 50; call++) await client.call(ECHO, { text: '' })
    } while (served !== before)
    expect(served).to.be.below(requests)
    peer.socket.resume()
    for (let id = 1; id <= requests; id++) expect((await peer.frame()).kind).to.equal(FrameKind.response)
    expect(served).to.equal(requests)
  })
}
