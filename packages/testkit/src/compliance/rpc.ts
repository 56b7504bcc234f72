import { expect } from 'chai'
import {
  Host,
  MooncakeError,
  RPC_SERVICE,
  type Plugin,
  type RpcCarrier,
  type RpcClient,
  type RpcContext,
  type RpcMethod,
  type RpcService,
} from '@mooncake-ts/core'
import { randomBytes } from '../helpers/random.js'
import { failureOf, rejectsWith } from '../helpers/rejects-with.js'
import { until } from '../helpers/until.js'

export interface RpcSetup {
  /** A `server` listens where a `client` of the same test reaches it; a `client` only calls. */
  create(role: 'server' | 'client'): Plugin<RpcService> | Promise<Plugin<RpcService>>
  /** What carries their connections. @defaultValue their sockets */
  carrier?(role: 'server' | 'client'): Plugin<RpcCarrier>
  /** Runs after every test, when both have stopped. */
  teardown?(): Promise<void> | void
}

/** Gives its request back, unless a test's handler does something else. */
const ECHO: RpcMethod<unknown, unknown> = {
  name: 'Compliance.Echo',
  parseRequest: request => request,
  parseResponse: response => response,
}

const STRICT: RpcMethod<{ readonly count: number }, number> = {
  name: 'Compliance.Strict',
  parseRequest: value => {
    const count = (value as { count?: unknown } | undefined)?.count
    if (typeof count === 'number') return { count }
    throw new MooncakeError('ERR_INVALID_PARAMS', 'count must be a number')
  },
  parseResponse: value => {
    if (typeof value === 'number') return value
    throw new MooncakeError('ERR_PROTOCOL', 'The answer must be a number')
  },
}

class RpcFixture {
  readonly #setup: RpcSetup
  #serverHost: Host | undefined
  #clientHost: Host | undefined

  constructor(setup: RpcSetup) {
    this.#setup = setup
  }

  service!: RpcService
  caller!: RpcService

  async #start(role: 'server' | 'client'): Promise<Host> {
    const carrier = this.#setup.carrier?.(role)
    return await new Host([...(carrier == null ? [] : [carrier]), await this.#setup.create(role)]).start()
  }

  async open(): Promise<void> {
    this.#serverHost = await this.#start('server')
    this.#clientHost = await this.#start('client')
    this.service = this.#serverHost.get(RPC_SERVICE)
    this.caller = this.#clientHost.get(RPC_SERVICE)
  }

  get client(): RpcClient {
    return this.caller.connect(this.service.endpoints[0]!)
  }

  async stopServer(): Promise<void> {
    await this.#serverHost?.stop()
  }

  async close(): Promise<void> {
    await this.#clientHost?.stop()
    await this.stopServer()
    await this.#setup.teardown?.()
  }
}

/**
 * Every promise that the RpcService contract makes, as tests.
 *
 * @example
 * rpcCompliance('rpc', { create: role => rpc({ listen: role === 'server' ? ['127.0.0.1:0'] : [] }) })
 */
export function rpcCompliance(name: string, setup: RpcSetup): void {
  describe(`${name} keeps the RpcService contract`, () => {
    const fixture = new RpcFixture(setup)
    beforeEach(() => fixture.open())
    afterEach(() => fixture.close())

    callTests(fixture)
    handlerTests(fixture)
    failureTests(fixture)
    endTests(fixture)
  })
}

function callTests(fixture: RpcFixture): void {
  it('says where it listens, and a service that only calls says nothing', () => {
    expect(fixture.service.endpoints).to.have.length.above(0)
    expect(fixture.caller.endpoints).to.deep.equal([])
  })

  it('gives the same client for the same endpoint', () => {
    const [endpoint] = fixture.service.endpoints
    expect(fixture.caller.connect(endpoint!)).to.equal(fixture.caller.connect(endpoint!))
    expect(fixture.client.endpoint).to.equal(endpoint)
  })

  it('carries values there and back as they are', async () => {
    fixture.service.handle(ECHO, request => request)
    const values = [
      {
        text: 'ä 🌓 \0',
        empty: '',
        yes: true,
        nothing: null,
        list: [1, [2, { three: 3 }]],
        empties: [[], {}],
      },
      [0, -1, 0.1, 2 ** 31, 2 ** 32, 2 ** 52 + 1, -(2 ** 53) + 1, Number.MAX_SAFE_INTEGER],
      'a string',
      17,
    ]
    for (const value of values) expect(await fixture.client.call(ECHO, value)).to.deep.equal(value)
  })

  it('carries bytes there and back', async () => {
    fixture.service.handle(ECHO, request => request)
    const bytes = randomBytes(1000, 1)
    const answer = (await fixture.client.call(ECHO, { bytes })) as { readonly bytes: Uint8Array }
    expect(answer.bytes).to.be.an.instanceOf(Uint8Array)
    expect(Buffer.compare(answer.bytes, bytes)).to.equal(0)
  })

  it('carries attached bytes there and back, of many calls at once', async () => {
    fixture.service.handle(ECHO, async (request, context) => {
      const chunks: Buffer[] = []
      await context.attachment?.receive(bytes => chunks.push(Buffer.from(bytes)))
      context.attach(Buffer.concat(chunks))
      return request
    })
    const sizes = [1, 5000, 100_000, 700_000]
    const calls = sizes.map(async (size, index) => {
      const chunks: Buffer[] = []
      const attachment = randomBytes(size, index)
      const sink = (_answer: unknown, byteLength: number) => {
        expect(byteLength).to.equal(size)
        return (bytes: Uint8Array): void => void chunks.push(Buffer.from(bytes))
      }
      expect(await fixture.client.call(ECHO, index, { attachment: Buffer.from(attachment), sink })).to.equal(
        index,
      )
      expect(Buffer.compare(Buffer.concat(chunks), attachment)).to.equal(0)
    })
    await Promise.all(calls)
  })

  it('throws attached bytes away that nobody asks for', async () => {
    fixture.service.handle(ECHO, (request, context) => {
      context.attach(Buffer.alloc(100_000))
      return request
    })
    for (const request of [1, 2]) {
      expect(await fixture.client.call(ECHO, request, { attachment: Buffer.alloc(100_000) })).to.equal(
        request,
      )
    }
  })

  it('carries messages of half a mebibyte', async () => {
    fixture.service.handle(ECHO, request => request)
    const keys = Array.from({ length: 5000 }, (_, i) => `${i}-${'k'.repeat(100)}`)
    expect(await fixture.client.call(ECHO, keys)).to.deep.equal(keys)
  })

  it('answers each of 1,000 calls at once with its own answer, in any order', async () => {
    fixture.service.handle(STRICT, async ({ count }) => {
      if (count % 3 === 0) await new Promise(resolve => setImmediate(resolve))
      return count * 2
    })
    const calls = Array.from({ length: 1000 }, (_, count) => fixture.client.call(STRICT, { count }))
    expect(await Promise.all(calls)).to.deep.equal(Array.from({ length: 1000 }, (_, count) => count * 2))
  })

  it('does not let a slow handler hold up other calls', async () => {
    let finish!: () => void
    const slow = { ...ECHO, name: 'Compliance.Slow' }
    fixture.service.handle(
      slow,
      () =>
        new Promise(
          resolve =>
            (finish = () => {
              resolve('slow')
            }),
        ),
    )
    fixture.service.handle(ECHO, request => request)
    const waiting = fixture.client.call(slow, 'slow')
    expect(await fixture.client.call(ECHO, 'quick')).to.equal('quick')
    await until(() => finish != null)
    finish()
    expect(await waiting).to.equal('slow')
  })
}

function handlerTests(fixture: RpcFixture): void {
  it('tells the handler the peer, the deadline that is left and the trace id', async () => {
    let seen: RpcContext | undefined
    fixture.service.handle(ECHO, (request, context) => {
      seen = context
      return request
    })
    await fixture.client.call(ECHO, 1, { deadlineMs: 7000, traceId: 'trace-17' })
    expect(seen!.peer).to.be.a('string').that.is.not.equal('')
    expect(seen!.deadlineMs).to.be.within(1, 7000)
    expect(seen!.traceId).to.equal('trace-17')
    expect(seen!.signal.aborted).to.equal(false)
  })

  it('uses the deadline of the method where the caller names none', async () => {
    let deadlineMs = 0
    const method = { ...ECHO, deadlineMs: 3000 }
    fixture.service.handle(method, (_request, context) => (deadlineMs = context.deadlineMs))
    await fixture.client.call(method, 1)
    expect(deadlineMs).to.be.within(1, 3000)
  })

  it('has one handler for a name', async () => {
    const registration = fixture.service.handle(ECHO, () => 'first')
    await rejectsWith(() => fixture.service.handle(ECHO, () => 'second'), 'ERR_RPC_METHOD_TAKEN')
    expect(await fixture.client.call(ECHO, 1)).to.equal('first')
    registration[Symbol.dispose]()
    await rejectsWith(fixture.client.call(ECHO, 1), 'ERR_RPC_METHOD_UNKNOWN')
    fixture.service.handle(ECHO, () => 'second')
    expect(await fixture.client.call(ECHO, 1)).to.equal('second')
  })

  it('calls others, and itself, with a service that listens', async () => {
    fixture.service.handle(ECHO, request => request)
    const [endpoint] = fixture.service.endpoints
    expect(await fixture.service.connect(endpoint!).call(ECHO, 'to itself')).to.equal('to itself')
  })
}

function failureTests(fixture: RpcFixture): void {
  it('refuses a method without a handler', async () => {
    const error = await rejectsWith(fixture.client.call(ECHO, 1), 'ERR_RPC_METHOD_UNKNOWN')
    expect(error.message).to.include(ECHO.name)
  })

  it('checks the request before the handler sees it', async () => {
    let called = false
    fixture.service.handle(STRICT, () => {
      called = true
      return 1
    })
    const wrong = { count: 'many' } as unknown as { count: number }
    const error = await rejectsWith(fixture.client.call(STRICT, wrong), 'ERR_INVALID_PARAMS')
    expect(error.message).to.include('count must be a number')
    expect(called).to.equal(false)
  })

  it('checks the answer before the caller sees it', async () => {
    fixture.service.handle({ ...ECHO, name: STRICT.name }, () => 'not a number')
    await rejectsWith(fixture.client.call(STRICT, { count: 1 }), 'ERR_PROTOCOL')
  })

  it('carries the code and the message of what a handler throws', async () => {
    fixture.service.handle(ECHO, async () => {
      throw new MooncakeError('ERR_OBJECT_NOT_FOUND', 'There is no moon')
    })
    const error = await rejectsWith(fixture.client.call(ECHO, 1), 'ERR_OBJECT_NOT_FOUND')
    expect(error.message).to.include('There is no moon')
  })

  it('makes ERR_INTERNAL of what a handler throws without a code, at once or later', async () => {
    fixture.service.handle(ECHO, request => {
      if (request === 'at once') throw new TypeError('a bug')
      return Promise.reject(new TypeError('a bug'))
    })
    for (const when of ['at once', 'later'])
      await rejectsWith(fixture.client.call(ECHO, when), 'ERR_INTERNAL')
  })

  it('goes on after a failed call', async () => {
    fixture.service.handle(STRICT, ({ count }) => {
      if (count % 2 === 1) throw new MooncakeError('ERR_OVERLOADED')
      return count
    })
    const calls = Array.from({ length: 50 }, (_, count) => fixture.client.call(STRICT, { count }))
    const answers = await Promise.allSettled(calls)
    expect(answers.map(({ status }) => status === 'fulfilled')).to.deep.equal(
      calls.map((_, i) => i % 2 === 0),
    )
  })
}

function endTests(fixture: RpcFixture): void {
  /** A handler that answers only once its signal has aborted. */
  const handleUntilAborted = (): Promise<AbortSignal> =>
    new Promise(resolve => {
      fixture.service.handle(ECHO, (_request, { signal }) => {
        resolve(signal)
        return new Promise(answer => {
          signal.addEventListener(
            'abort',
            () => {
              answer('too late')
            },
            { once: true },
          )
        })
      })
    })

  it('ends a call with ERR_RPC_TIMEOUT at its deadline, and aborts the handler’s signal', async () => {
    fixture.service.handle(STRICT, ({ count }) => count)
    await fixture.client.call(STRICT, { count: 1 }) // Connects, which has another deadline.
    const handling = handleUntilAborted()
    await rejectsWith(fixture.client.call(ECHO, 1, { deadlineMs: 100 }), 'ERR_RPC_TIMEOUT')
    const signal = await handling
    await until(() => signal.aborted)
  })

  it('makes no call when the signal has aborted before, and rejects with its reason', async () => {
    let called = false
    fixture.service.handle(ECHO, () => (called = true))
    const reason = new Error('not wanted any more')
    const call = fixture.client.call(ECHO, 1, { signal: AbortSignal.abort(reason) })
    expect(await failureOf(call)).to.equal(reason)
    fixture.service.handle(STRICT, ({ count }) => count)
    await fixture.client.call(STRICT, { count: 1 })
    expect(called).to.equal(false)
  })

  it('ends an aborted call with the reason of the signal, and aborts the handler’s signal', async () => {
    const handling = handleUntilAborted()
    const controller = new AbortController()
    const call = fixture.client.call(ECHO, 1, { signal: controller.signal })
    const failing = failureOf(call)
    const signal = await handling
    const reason = new Error('not wanted any more')
    controller.abort(reason)
    expect(await failing).to.equal(reason)
    await until(() => signal.aborted)
  })

  it('fails with ERR_RPC_FAIL where nobody listens', async function () {
    this.timeout(15_000)
    const client = fixture.client
    await fixture.stopServer()
    await rejectsWith(client.call(ECHO, 1, { deadlineMs: 2000 }), 'ERR_RPC_FAIL')
  })

  it('ends calls in flight when the server stops', async function () {
    this.timeout(15_000)
    const handling = handleUntilAborted()
    const call = fixture.client.call(ECHO, 1, { deadlineMs: 10_000 })
    await handling
    await fixture.stopServer()
    await Promise.allSettled([call]) // With the answer or with an error: that is for the server to choose.
  })

  it('ends calls in flight when the caller stops', async function () {
    this.timeout(15_000)
    const handling = handleUntilAborted()
    const failing = failureOf(fixture.client.call(ECHO, 1, { deadlineMs: 10_000 }))
    const signal = await handling
    await fixture.close()
    expect(await failing).to.be.an.instanceOf(Error)
    expect(signal.aborted).to.equal(true)
  })
}
