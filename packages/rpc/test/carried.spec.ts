import { rpcCompliance } from '@mooncake-ts/testkit'
import { rpc } from '@mooncake-ts/rpc'
import { expect } from 'chai'
import { carrierStreams, socketCarrier, type SocketCarrierOptions } from './socket-carrier.js'
import { rpcSuites } from './suites/index.js'
import { carriedBy, cleanUp, ECHO, startEcho, startService } from './support.js'

describe('over a carrier', () => {
  carriedBy(() => socketCarrier())
  rpcSuites()
})

rpcCompliance('rpc over a carrier', {
  create: role => rpc({ listen: role === 'server' ? ['127.0.0.1:0'] : [], drainMs: 500 }),
  carrier: () => socketCarrier(),
})

describe('a connection', () => {
  afterEach(cleanUp)

  /** Answers, and how many streams the carriers made for that. */
  async function ask(server: SocketCarrierOptions | undefined, client: SocketCarrierOptions | undefined) {
    const before = carrierStreams.length
    const { endpoint } = await startEcho({}, { carrier: server && socketCarrier(server) })
    const { service, logger } = await startService({}, { carrier: client && socketCarrier(client) })
    for (const text of ['a', 'b']) {
      expect(await service.connect(endpoint).call(ECHO, { text })).to.deep.equal({ text })
    }
    const warned = logger.lines.filter(({ level }) => level === 'warn')
    return { streams: carrierStreams.slice(before), warned, service, endpoint }
  }

  it('moves to a carrier that both ends have', async () => {
    const { streams, warned } = await ask({}, {})
    expect(streams).to.have.lengthOf(2)
    expect(warned).to.deep.equal([])
  })

  for (const [what, server, client] of [
    ['the server has none', undefined, {}],
    ['that of the server is not ready', { ready: false }, {}],
    ['its own is not ready', {}, { ready: false }],
    ['the server cannot prepare', { failing: 'prepare' }, {}],
    ['it cannot prepare', {}, { failing: 'prepare' }],
    ['the server cannot connect', { failing: 'connect' }, {}],
    ['it cannot connect', {}, { failing: 'connect' }],
  ] as const) {
    it(`stays on its socket where ${what}, says so once, and leaves nothing behind`, async () => {
      const { streams, warned } = await ask(server, client)
      for (const stream of streams)
        if (!stream.closed) await new Promise(resolve => stream.once('close', resolve))
      expect(warned).to.have.lengthOf(1)
      expect(warned[0]!.message).to.equal('rpc goes on over its socket')
    })
  }

  it('stays on its socket, without a word, where the client has no carrier', async () => {
    const { streams, warned } = await ask({}, undefined)
    expect(streams).to.have.lengthOf(0)
    expect(warned).to.have.lengthOf(0)
  })

  it('that a carrier lost is made again', async () => {
    const { streams, service, endpoint } = await ask({}, {})
    for (const stream of streams) stream.destroy()
    const client = service.connect(endpoint)
    const again = async (): Promise<object> => await client.call(ECHO, { text: 'c' }).catch(again)
    expect(await again()).to.deep.equal({ text: 'c' })
  })
})
