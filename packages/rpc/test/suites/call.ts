import { expect } from 'chai'
import { MooncakeError, type RpcContext } from '@mooncake-ts/core'
import { defineMethod, Type } from '@mooncake-ts/rpc'
import { cleanUp, Deferred, ECHO, failure, SLOW, startEcho, startServer, startService } from '../support.js'

const never = new Promise<never>(() => {})

export function aCall(): void {
  afterEach(cleanUp)

  it('brings the answer of the handler', async () => {
    const server = await startEcho()
    const { service } = await startService()
    const client = service.connect(server.endpoint)
    expect(client.endpoint).to.equal(server.endpoint)
    expect(await client.call(ECHO, { text: 'päth' })).to.deep.equal({ text: 'päth' })
  })

  it('carries bytes, large numbers and absent fields', async () => {
    const message = Type.Object({
      key: Type.Uint8Array(),
      size: Type.Integer(),
      tag: Type.Optional(Type.String()),
    })
    const method = defineMethod('Test.Same', { request: message, response: message })
    const server = await startServer()
    server.service.handle(method, request => request)
    const key = new Uint8Array([0, 255, 7])
    const answer = await server.service
      .connect(server.endpoint)
      .call(method, { key, size: Number.MAX_SAFE_INTEGER, tag: undefined })
    expect([...answer.key]).to.deep.equal([...key])
    expect(answer.size).to.equal(Number.MAX_SAFE_INTEGER)
    expect(answer).not.to.have.property('tag')
  })

  it('tells the handler who asks, for how long and in which trace', async () => {
    const { service, endpoint } = await startServer()
    const seen: RpcContext[] = []
    service.handle(SLOW, (_request, context) => {
      seen.push(context)
      return {}
    })
    await service.connect(endpoint).call(SLOW, {}, { deadlineMs: 700, traceId: 'trace-7' })
    await service.connect(endpoint).call(SLOW, {})
    expect(seen[0]).to.include({ traceId: 'trace-7' })
    expect(seen[0]!.deadlineMs).to.be.within(1, 700)
    expect(seen[0]!.peer).to.match(/^127\.0\.0\.1:\d+$/)
    expect(seen[1]!.deadlineMs).to.be.within(701, 10_000)
    expect(seen[1]!.traceId).to.match(/^[0-9a-f]{12}-/)
  })

  it('fails after its deadline, and aborts the handler', async () => {
    const { service, endpoint } = await startServer()
    const aborted = new Deferred<unknown>()
    service.handle(SLOW, (_request, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted.resolve(signal.reason)
      })
      return never
    })
    service.handle(ECHO, request => request)
    await service.connect(endpoint).call(ECHO, { text: 'connects' })
    const beganMs = performance.now()
    const error = await failure(() => service.connect(endpoint).call(SLOW, {}, { deadlineMs: 50 }))
    expect(performance.now() - beganMs).to.be.within(50, 500)
    expect(error).to.include({ code: 'ERR_RPC_TIMEOUT', retryable: true })
    expect(error.message).to.contain('Test.Slow').and.to.contain('50 ms')
    await aborted.promise
  })

  it('uses the deadline of its method where the caller names none', async () => {
    const method = defineMethod('Test.Brief', {
      request: Type.Object({}),
      response: Type.Object({}),
      deadlineMs: 20,
    })
    const { service, endpoint } = await startServer()
    service.handle(method, () => never)
    expect(await failure(() => service.connect(endpoint).call(method, {}))).to.include({
      code: 'ERR_RPC_TIMEOUT',
    })
  })

  it('without time left is not sent, with too much is refused', async () => {
    const { service, endpoint } = await startEcho()
    const call = (deadlineMs: number) => () =>
      service.connect(endpoint).call(ECHO, { text: '' }, { deadlineMs })
    expect(await failure(call(0))).to.include({ code: 'ERR_RPC_TIMEOUT' })
    expect(await failure(call(-5))).to.include({ code: 'ERR_RPC_TIMEOUT' })
    expect(await failure(call(Infinity))).to.include({ code: 'ERR_INVALID_PARAMS' })
    expect(await failure(call(NaN))).to.include({ code: 'ERR_INVALID_PARAMS' })
  })

  it('that its caller cancels rejects with the reason, and aborts the handler', async () => {
    const { service, endpoint } = await startServer()
    const begun = new Deferred()
    const aborted = new Deferred<unknown>()
    service.handle(SLOW, (_request, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted.resolve(signal.reason)
      })
      begun.resolve()
      return never
    })
    const controller = new AbortController()
    const call = service.connect(endpoint).call(SLOW, {}, { signal: controller.signal })
    await begun.promise
    const reason = new Error('changed my mind')
    controller.abort(reason)
    expect(await failure(() => call)).to.equal(reason)
    expect(await aborted.promise).to.include({ code: 'ERR_RPC_FAIL', message: 'The caller cancelled' })
  })

  it('that was cancelled before is not sent', async () => {
    const server = await startServer()
    let served = 0
    server.service.handle(SLOW, () => {
      served++
      return {}
    })
    const client = server.service.connect(server.endpoint)
    await failure(() => client.call(SLOW, {}, { signal: AbortSignal.abort(new Error('before')) }))
    await client.call(SLOW, {})
    expect(served).to.equal(1)
  })

  it('shows an aborted signal to a handler that looks late', async () => {
    const { service, endpoint } = await startServer()
    const cancelled = new Deferred()
    const late = new Deferred<boolean>()
    service.handle(SLOW, async (_request, context) => {
      await cancelled.promise
      late.resolve(context.signal.aborted)
      return {}
    })
    service.handle(ECHO, request => request)
    const client = service.connect(endpoint)
    await client.call(ECHO, { text: 'connects' })
    await failure(() => client.call(SLOW, {}, { deadlineMs: 20 }))
    await client.call(ECHO, { text: 'the CANCEL was read by now' })
    cancelled.resolve()
    expect(await late.promise).to.equal(true)
  })

  it('to an unknown method fails, and the connection lives', async () => {
    const { service, endpoint } = await startEcho()
    const client = service.connect(endpoint)
    const error = await failure(() => client.call(SLOW, {}))
    expect(error).to.include({ code: 'ERR_RPC_METHOD_UNKNOWN' })
    expect(error.message).to.contain('Test.Slow')
    await client.call(ECHO, { text: 'still here' })
  })

  it('with a request out of form fails with the path, and the handler sees nothing', async () => {
    const { service, endpoint } = await startEcho()
    const wrong = { text: 7 } as unknown as { text: string }
    const error = await failure(() => service.connect(endpoint).call(ECHO, wrong))
    expect(error).to.include({ code: 'ERR_INVALID_PARAMS' })
    expect(error.message).to.equal('Request of Test.Echo: text: expected string')
  })

  it('with an answer out of form fails, and the connection lives', async () => {
    const { service, endpoint } = await startServer()
    service.handle(ECHO, ({ text }) =>
      text === 'bad' ? ({ text: 7 } as unknown as { text: string }) : { text },
    )
    const client = service.connect(endpoint)
    const error = await failure(() => client.call(ECHO, { text: 'bad' }))
    expect(error).to.include({ code: 'ERR_PROTOCOL' })
    expect(error.message).to.contain('text: expected string')
    await client.call(ECHO, { text: 'good' })
  })

  for (const [kind, thrower] of [
    [
      'at once',
      (error: unknown): never => {
        throw error
      },
    ],
    ['later', (error: unknown): Promise<never> => Promise.reject(error)],
  ] as const) {
    it(`keeps the code of what a handler throws ${kind}`, async () => {
      const { service, endpoint } = await startServer()
      service.handle(SLOW, () => thrower(new MooncakeError('ERR_NO_AVAILABLE_HANDLE', 'The tier is full')))
      const error = await failure(() => service.connect(endpoint).call(SLOW, {}))
      expect(error).to.include({
        code: 'ERR_NO_AVAILABLE_HANDLE',
        message: 'The tier is full',
        retryable: true,
      })
    })

    it(`makes ERR_INTERNAL of anything else, thrown ${kind}, and logs the stack`, async () => {
      const { service, endpoint, logger } = await startServer()
      service.handle(SLOW, () => thrower(new TypeError('x is not a function')))
      const error = await failure(() => service.connect(endpoint).call(SLOW, {}, { traceId: 't1' }))
      expect(error).to.include({ code: 'ERR_INTERNAL', message: 'x is not a function', retryable: false })
      const line = await logger.wait(({ level }) => level === 'error')
      expect(line.fields).to.include({ method: 'Test.Slow', traceId: 't1' })
      expect(line.fields['error']).to.contain('suites/call')
    })
  }

  it('whose answer cannot be encoded fails', async () => {
    const { service, endpoint } = await startServer()
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    service.handle(SLOW, () => circle)
    expect(await failure(() => service.connect(endpoint).call(SLOW, {}))).to.include({ code: 'ERR_INTERNAL' })
  })

  it('larger than the peer takes is refused here, and an answer there', async () => {
    const server = await startServer({ frameBytesMax: 4096 })
    server.service.handle(ECHO, ({ text }) => ({ text: text.repeat(2) }))
    const { service } = await startService()
    const client = service.connect(server.endpoint)
    await client.call(ECHO, { text: 'x' })
    expect(await failure(() => client.call(ECHO, { text: 'x'.repeat(5000) }))).to.include({
      code: 'ERR_INVALID_PARAMS',
    })
    expect(await failure(() => client.call(ECHO, { text: 'x'.repeat(3000) }))).to.include({
      code: 'ERR_INTERNAL',
    })
    await client.call(ECHO, { text: 'x' })
  })

  it('may be large', async () => {
    const { service, endpoint } = await startEcho()
    const text = 'x'.repeat(8 * 2 ** 20)
    expect((await service.connect(endpoint).call(ECHO, { text })).text).to.have.length(text.length)
  })

  it('is one of 1,000 at once, each with its own answer', async () => {
    const { service, endpoint } = await startServer()
    service.handle(ECHO, async ({ text }) => {
      if (Number(text) % 3 === 0) await Promise.resolve()
      return { text }
    })
    const client = service.connect(endpoint)
    const { signal } = new AbortController()
    const texts = Array.from({ length: 1000 }, (_, index) => String(index))
    const answers = await Promise.all(texts.map(text => client.call(ECHO, { text }, { signal })))
    expect(answers.map(answer => answer.text)).to.deep.equal(texts)
  })

  it('beyond inflightCallsMax to one peer is refused', async () => {
    const { service, endpoint } = await startServer()
    const release = new Deferred<object>()
    service.handle(SLOW, () => release.promise)
    const { service: caller } = await startService({ inflightCallsMax: 2 })
    const client = caller.connect(endpoint)
    const calls = [client.call(SLOW, {}), client.call(SLOW, {})]
    expect(await failure(() => client.call(SLOW, {}))).to.include({ code: 'ERR_OVERLOADED', retryable: true })
    release.resolve({})
    await Promise.all(calls)
    await client.call(SLOW, {})
  })

  it('beyond inflightCallsMax of the server is refused by it', async () => {
    const { service, endpoint } = await startServer({ inflightCallsMax: 2 })
    const release = new Deferred<object>()
    service.handle(SLOW, () => release.promise)
    const { service: caller } = await startService({ connectionsPerPeer: 1 })
    const client = caller.connect(endpoint)
    const calls = [client.call(SLOW, {}), client.call(SLOW, {})]
    expect(await failure(() => client.call(SLOW, {}))).to.include({ code: 'ERR_OVERLOADED' })
    release.resolve({})
    await Promise.all(calls)
  })
}

export function aHandler(): void {
  afterEach(cleanUp)

  it('is alone for its method, until it is disposed of', async () => {
    const { service, endpoint } = await startServer()
    const first = service.handle(ECHO, () => ({ text: 'first' }))
    const error = await failure(() => service.handle(ECHO, () => ({ text: 'second' })))
    expect(error).to.include({ code: 'ERR_RPC_METHOD_TAKEN' })
    first[Symbol.dispose]()
    service.handle(ECHO, () => ({ text: 'second' }))
    first[Symbol.dispose]() // Takes away only what is its own.
    expect(await service.connect(endpoint).call(ECHO, { text: '' })).to.deep.equal({ text: 'second' })
  })
}
