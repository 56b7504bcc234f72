import { connect } from 'node:net'
import { once } from 'node:events'
import { expect } from 'chai'
import { parseEndpoint } from '../../dist/endpoint.js'
import {
  cleanUp,
  Deferred,
  ECHO,
  failure,
  RawPeer,
  SLOW,
  startEcho,
  startServer,
  startService,
} from '../support.js'

const never = new Promise<never>(() => {})

export function stop(): void {
  afterEach(cleanUp)

  it('answers what is in work, refuses what is new, and then is gone', async () => {
    const { host, service, endpoint } = await startServer()
    const begun = new Deferred()
    const release = new Deferred<object>()
    service.handle(SLOW, () => {
      begun.resolve()
      return release.promise
    })
    const { service: caller } = await startService({ connectionsPerPeer: 1 })
    const client = caller.connect(endpoint)
    const peer = await RawPeer.authenticated(endpoint)
    const call = client.call(SLOW, {})
    await begun.promise

    const stopped = host.stop()
    expect(await peer.body()).to.include({ code: 'ERR_SHUTTING_DOWN' })
    const socket = connect(parseEndpoint(endpoint))
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).to.equal('ECONNREFUSED')
    release.resolve({})
    expect(await call).to.deep.equal({})
    await stopped
    await peer.ended
  })

  it('refuses a request on a connection that drains, with a retryable code', async () => {
    const { host, service, endpoint } = await startServer()
    const begun = new Deferred()
    const release = new Deferred<object>()
    service.handle(SLOW, () => {
      begun.resolve()
      return release.promise
    })
    const { service: caller } = await startService({ connectionsPerPeer: 1 })
    const client = caller.connect(endpoint)
    const inWork = client.call(SLOW, {})
    await begun.promise
    const stopped = host.stop()
    // Sent before the GOODBYE can have been read.
    expect(await failure(() => client.call(SLOW, {}))).to.include({
      code: 'ERR_SHUTTING_DOWN',
      retryable: true,
    })
    release.resolve({})
    await inWork
    await stopped
  })

  it('aborts what takes longer than drainMs, and waits until it has returned', async () => {
    const { host, service, endpoint } = await startServer({ drainMs: 30 })
    const begun = new Deferred()
    let returned = false
    service.handle(SLOW, async (_request, { signal }) => {
      begun.resolve()
      await once(signal, 'abort')
      await new Promise(resolve => setImmediate(resolve))
      returned = true
      throw signal.reason
    })
    const { service: caller } = await startService()
    const call = failure(() => caller.connect(endpoint).call(SLOW, {}))
    await begun.promise
    await host.stop()
    expect(returned).to.equal(true)
    expect(await call).to.include({ code: 'ERR_SHUTTING_DOWN' })
  })

  it('does not take a handler that gives up for a bug', async () => {
    const { host, service, endpoint, logger } = await startServer({ drainMs: 30 })
    const begun = new Deferred()
    service.handle(SLOW, async (_request, { signal }) => {
      begun.resolve()
      await once(signal, 'abort')
      throw new DOMException('I was told to stop', 'AbortError')
    })
    const { service: caller } = await startService()
    const call = failure(() => caller.connect(endpoint).call(SLOW, {}))
    await begun.promise
    await host.stop()
    expect(await call).to.include({ code: 'ERR_SHUTTING_DOWN', message: 'I was told to stop' })
    expect(logger.lines.filter(({ level }) => level === 'error')).to.deep.equal([])
  })

  it('sends large answers to the end', async () => {
    const { host, service, endpoint } = await startServer({ drainMs: 30_000 })
    const text = 'x'.repeat(32 * 2 ** 20)
    const release = new Deferred()
    const begun = new Deferred()
    service.handle(ECHO, async () => {
      begun.resolve()
      await release.promise
      return { text }
    })
    const { service: caller } = await startService()
    const call = caller.connect(endpoint).call(ECHO, { text: '' })
    await begun.promise
    const stopped = host.stop()
    release.resolve()
    expect((await call).text).to.have.length(text.length)
    await stopped
  })

  it('waits also for handlers whose caller is gone', async () => {
    const { host, service, endpoint } = await startServer()
    const begun = new Deferred()
    const release = new Deferred<object>()
    const aborted = new Deferred()
    service.handle(SLOW, (_request, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted.resolve()
      })
      begun.resolve()
      return release.promise
    })
    const caller = await startService()
    const call = failure(() => caller.service.connect(endpoint).call(SLOW, {}))
    await begun.promise
    await caller.host.stop()
    expect(await call).to.include({ code: 'ERR_SHUTTING_DOWN' })
    await aborted.promise
    const peer = await RawPeer.authenticated(endpoint)
    const order: string[] = []
    const stopped = host.stop().then(() => order.push('stopped'))
    expect(await peer.body()).to.include({ code: 'ERR_SHUTTING_DOWN' })
    for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
    order.push('returned')
    release.resolve({})
    await stopped
    expect(order).to.deep.equal(['returned', 'stopped'])
  })

  it('names handlers that heed nothing, and ends all the same', async () => {
    const { host, service, endpoint, logger } = await startServer({ drainMs: 20 })
    const begun = new Deferred()
    service.handle(SLOW, () => {
      begun.resolve()
      return never
    })
    const { service: caller } = await startService()
    const call = failure(() => caller.connect(endpoint).call(SLOW, {}))
    await begun.promise
    await host.stop()
    expect(await call).to.include({ code: 'ERR_RPC_FAIL' })
    expect(logger.lines.find(({ level }) => level === 'warn')?.fields).to.deep.equal({
      methods: ['Test.Slow'],
    })
  })

  it('drops connections that have not proven themselves', async () => {
    const { host, endpoint } = await startEcho()
    const peer = await RawPeer.connect(endpoint)
    await host.stop()
    await peer.ended
  })

  it('fails calls of this process that wait or are in flight, and all later ones', async () => {
    const { service, endpoint } = await startServer()
    const begun = new Deferred()
    service.handle(SLOW, () => {
      begun.resolve()
      return never
    })
    const caller = await startService({ backoffMinMs: 60_000, backoffMaxMs: 60_000 })
    await failure(() => caller.service.connect('127.0.0.1:1').call(ECHO, { text: '' }))
    const calls = [
      failure(() => caller.service.connect('127.0.0.1:1').call(ECHO, { text: '' })),
      failure(() => caller.service.connect(endpoint).call(SLOW, {})),
    ]
    await begun.promise
    await caller.host.stop()
    for (const call of calls) expect(await call).to.include({ code: 'ERR_SHUTTING_DOWN' })
    for (const target of [endpoint, '127.0.0.1:2']) {
      expect(await failure(() => caller.service.connect(target).call(ECHO, { text: '' }))).to.include({
        code: 'ERR_SHUTTING_DOWN',
      })
    }
  })
}
