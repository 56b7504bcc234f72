import { once } from 'node:events'
import { expect } from 'chai'
import type { Socket } from 'node:net'
import type { RpcContext } from '@mooncake-ts/core'
import { defineMethod, Type } from '@mooncake-ts/rpc'
import { encodeEmptyFrame, encodeFrame } from '../../dist/wire/codec.js'
import { FrameKind } from '../../dist/wire/frame.js'
import {
  cleanUp,
  Deferred,
  ECHO,
  endpointOf,
  failure,
  fakeServer,
  RawPeer,
  startEcho,
  startServer,
  startService,
} from '../support.js'

const REVERSE = defineMethod('Test.Reverse', {
  request: Type.Object({ late: Type.Optional(Type.Boolean()) }),
  response: Type.Object({ byteLength: Type.Integer() }),
})

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Sends back what is attached, the last byte first. */
async function reverse(request: { late?: boolean | undefined }, context: RpcContext) {
  const chunks: Buffer[] = []
  if (request.late === true) for (let turn = 0; turn < 20; turn++) await nextTurn()
  await context.attachment?.receive(bytes => chunks.push(Buffer.from(bytes)), context.signal)
  const bytes = Buffer.concat(chunks).reverse()
  if (bytes.length > 0) context.attach(bytes)
  return { byteLength: bytes.length }
}

/** What a call gets as its attachment. */
function collector(): { readonly bytes: () => Buffer; readonly sink: () => (bytes: Uint8Array) => void } {
  const chunks: Buffer[] = []
  return { bytes: () => Buffer.concat(chunks), sink: () => bytes => chunks.push(Buffer.from(bytes)) }
}

export function attachments(): void {
  afterEach(cleanUp)

  for (const late of [false, true]) {
    it(`go there and back whole, several at a time, taken ${late ? 'when they have come' : 'as they come'}`, async () => {
      const { service: server, endpoint } = await startServer()
      server.handle(REVERSE, reverse)
      const { service } = await startService()
      const sizes = [1, 100, 65_535, 65_536, 300_000, 2_000_000]
      await Promise.all(
        [...sizes, ...sizes].map(async (size, index) => {
          const attachment = Buffer.alloc(size, index + 1)
          attachment[0] = 255
          const { bytes, sink } = collector()
          const answer = await service.connect(endpoint).call(REVERSE, { late }, { attachment, sink })
          expect(answer).to.deep.equal({ byteLength: size })
          expect(Buffer.compare(bytes().reverse(), attachment)).to.equal(0)
        }),
      )
    })
  }

  it('that nobody takes are thrown away, at both ends', async () => {
    const { service: server, endpoint } = await startEcho()
    server.handle(REVERSE, (_, context) => {
      context.attach(Buffer.alloc(100_000))
      return { byteLength: 0 }
    })
    const { service } = await startService()
    const client = service.connect(endpoint)
    await client.call(REVERSE, {}, { attachment: Buffer.alloc(300_000) })
    await failure(() =>
      client.call({ ...REVERSE, name: 'Test.None' }, {}, { attachment: Buffer.alloc(300_000) }),
    )
    expect(await client.call(ECHO, { text: 'in step' })).to.deep.equal({ text: 'in step' })
  })

  it('fail their call with what the sink throws, and leave the connection in step', async () => {
    const { service: server, endpoint } = await startEcho()
    server.handle(REVERSE, reverse)
    const { service } = await startService()
    const client = service.connect(endpoint)
    const broken = new Error('no place for it')
    const throwing = (): never => {
      throw broken
    }
    const options = { attachment: Buffer.alloc(300_000) }
    expect(await failure(() => client.call(REVERSE, {}, { ...options, sink: throwing }))).to.equal(broken)
    const late = await failure(() => client.call(REVERSE, {}, { ...options, sink: () => throwing }))
    expect(late.cause).to.equal(broken)
    expect(await client.call(ECHO, { text: 'in step' })).to.deep.equal({ text: 'in step' })
  })

  it('larger than the peer takes are refused before anything is sent', async () => {
    const { endpoint } = await startEcho({ frameBytesMax: 10_000 })
    const { service } = await startService()
    const client = service.connect(endpoint)
    const attachment = Buffer.alloc(10_000)
    const error = await failure(() => client.call(ECHO, { text: '' }, { attachment }))
    expect(error).to.include({ code: 'ERR_INVALID_PARAMS' })
    expect(await client.call(ECHO, { text: 'a' })).to.deep.equal({ text: 'a' })
  })

  it('are written nowhere once their call was aborted, and the connection goes on', async () => {
    const asked = new Deferred<{ socket: Socket; id: number }>()
    const answers: Array<(id: number) => void> = []
    const server = await fakeServer((socket, id) => {
      answers.shift()?.(id)
      asked.resolve({ socket, id })
    })
    const { service } = await startService()
    const client = service.connect(endpointOf(server))
    const started = new Deferred()
    let received = 0
    const controller = new AbortController()
    const call = client.call(
      REVERSE,
      {},
      {
        signal: controller.signal,
        sink: () => bytes => {
          received += bytes.length
          started.resolve()
        },
      },
    )
    const { socket, id } = await asked.promise
    socket.write(encodeFrame(FrameKind.response, id, 0, { byteLength: 1000 }, 1000))
    socket.write(Buffer.alloc(400))
    await started.promise
    const reason = new Error('changed my mind')
    controller.abort(reason)
    expect(await failure(() => call)).to.equal(reason)
    const atRest = received
    answers.push(next => {
      socket.write(Buffer.alloc(1000 - 400))
      socket.write(encodeFrame(FrameKind.response, next, 0, { text: 'next' }))
    })
    expect(await client.call(ECHO, { text: '' })).to.deep.equal({ text: 'next' })
    expect(received).to.equal(atRest)
    server.close()
  })

  it('fail their call when the server dies in the middle', async () => {
    const server = await fakeServer((socket, id) => {
      server.close()
      socket.write(encodeFrame(FrameKind.response, id, 0, { byteLength: 1000 }, 1000))
      socket.write(Buffer.alloc(400), () => socket.destroy())
    })
    const { service } = await startService()
    const call = service.connect(endpointOf(server)).call(REVERSE, {}, { sink: () => () => {} })
    expect(await failure(() => call)).to.include({ code: 'ERR_RPC_FAIL' })
  })

  it('reject in the handler when the caller dies in the middle, and the server lives', async () => {
    const { service: server, endpoint } = await startEcho()
    const ended = new Deferred<unknown>()
    server.handle(REVERSE, async (_, context) => {
      await context.attachment!.receive(() => {}).catch(ended.resolve)
      return { byteLength: 0 }
    })
    const peer = await RawPeer.authenticated(endpoint)
    peer.socket.write(encodeFrame(FrameKind.request, 1, 1000, ['Test.Reverse', '', {}], 1000))
    peer.socket.write(Buffer.alloc(400))
    await nextTurn()
    peer.socket.end()
    await once(peer.socket, 'close')
    expect(await ended.promise).to.include({ code: 'ERR_RPC_FAIL' })
    const { service } = await startService()
    expect(await service.connect(endpoint).call(ECHO, { text: 'alive' })).to.deep.equal({ text: 'alive' })
  })

  it('stop at the signal of whoever receives them', async () => {
    const { service: server, endpoint } = await startServer()
    const begun = new Deferred<AbortController>()
    const ended = new Deferred<unknown>()
    let received = 0
    server.handle(REVERSE, async (_, context) => {
      const controller = new AbortController()
      const sink = (bytes: Uint8Array): void => {
        received += bytes.length
        begun.resolve(controller)
      }
      await context.attachment!.receive(sink, controller.signal).catch(ended.resolve)
      return { byteLength: received }
    })
    const peer = await RawPeer.authenticated(endpoint)
    peer.socket.write(encodeFrame(FrameKind.request, 1, 1000, ['Test.Reverse', '', {}], 1000))
    peer.socket.write(Buffer.alloc(400))
    const controller = await begun.promise
    const reason = new Error('the owner gives up')
    controller.abort(reason)
    expect(await ended.promise).to.equal(reason)
    const atRest = received
    peer.socket.write(Buffer.alloc(600))
    peer.socket.write(encodeEmptyFrame(FrameKind.ping, 7))
    expect((await peer.frame()).kind).to.equal(FrameKind.response)
    expect(await peer.frame()).to.include({ kind: FrameKind.pong, id: 7 })
    expect(received).to.equal(atRest)
  })

  it('with a length that no frame may have end the connection, not the server', async () => {
    const server = await startEcho({ frameBytesMax: 10_000 })
    const peer = await RawPeer.authenticated(server.endpoint)
    peer.socket.write(encodeFrame(FrameKind.request, 1, 1000, ['Test.Echo', '', { text: '' }], 2 ** 32 - 1))
    expect(await peer.body()).to.include({ code: 'ERR_PROTOCOL' })
    await peer.ended
    const { service } = await startService()
    expect(await service.connect(server.endpoint).call(ECHO, { text: 'b' })).to.deep.equal({ text: 'b' })
  })

  it('are given back once to who lent their memory, whatever becomes of the answer', async () => {
    const { service: server, endpoint } = await startServer()
    const done = new Map<string, number>()
    const lend = (name: string, context: RpcContext, bytes: number): void => {
      context.attach(Buffer.alloc(bytes), () => {
        done.set(name, (done.get(name) ?? 0) + 1)
        settled.resolve()
      })
    }
    let settled = new Deferred()
    let answer: (context: RpcContext) => Promise<{ byteLength: number }> = async () => ({ byteLength: 0 })
    server.handle(REVERSE, async (_, context) => await answer(context))
    const { service } = await startService()
    const client = service.connect(endpoint)

    answer = async context => {
      lend('sent', context, 100_000)
      return await Promise.resolve({ byteLength: 0 })
    }
    await client.call(REVERSE, {})
    await settled.promise
    answer = async context => {
      lend('failed', context, 10)
      return await Promise.reject(new Error('after all not'))
    }
    settled = new Deferred()
    await failure(() => client.call(REVERSE, {}))
    await settled.promise
    const release = new Deferred()
    answer = async context => {
      lend('cancelled', context, 10)
      await release.promise
      return { byteLength: 0 }
    }
    settled = new Deferred()
    await failure(() => client.call(REVERSE, {}, { deadlineMs: 20 }))
    release.resolve()
    await settled.promise
    answer = async context => {
      lend('unread', context, 30_000_000)
      return await Promise.resolve({ byteLength: 0 })
    }
    settled = new Deferred()
    const peer = await RawPeer.authenticated(endpoint)
    peer.socket.pause()
    peer.socket.write(encodeFrame(FrameKind.request, 1, 1000, ['Test.Reverse', '', {}]))
    for (let turn = 0; turn < 50; turn++) await nextTurn()
    peer.socket.destroy()
    await settled.promise
    expect([...done]).to.deep.equal([
      ['sent', 1],
      ['failed', 1],
      ['cancelled', 1],
      ['unread', 1],
    ])
  })
}
