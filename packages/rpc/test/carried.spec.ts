import { rpcCompliance, until } from '@mooncake-ts/testkit'
import { rpc, type RpcOptions } from '@mooncake-ts/rpc'
import { expect } from 'chai'
import {
  carrierStreams,
  otherCarrier,
  preparedCarriers,
  socketCarrier,
  type SocketCarrierOptions,
} from './socket-carrier.js'
import { rpcSuites } from './suites/index.js'
import { carriedBy, cleanUp, ECHO, ManualClock, RawPeer, startEcho, startService } from './support.js'

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

  /** Answers, and which streams the carriers made for that. */
  async function ask(
    server: SocketCarrierOptions | undefined,
    client: SocketCarrierOptions | undefined,
    options: RpcOptions = {},
  ) {
    const before = { streams: carrierStreams.length, prepared: preparedCarriers.length }
    const { endpoint } = await startEcho({}, { carriers: server == null ? [] : [socketCarrier(server)] })
    const carriers = client == null ? [] : [socketCarrier(client)]
    const { service, logger } = await startService(options, { carriers })
    for (const text of ['a', 'b']) {
      expect(await service.connect(endpoint).call(ECHO, { text })).to.deep.equal({ text })
    }
    const warned = logger.lines.filter(({ level }) => level === 'warn')
    const streams = carrierStreams.slice(before.streams)
    return { streams, prepared: preparedCarriers.slice(before.prepared), warned, service, endpoint }
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
      await until(() => streams.every(stream => stream.closed))
      expect(warned).to.have.lengthOf(1)
      expect(warned[0]!.message).to.equal('rpc goes on over its socket')
    })
  }

  it('stays on its socket, without a word, where the client has no carrier', async () => {
    const { streams, warned } = await ask({}, undefined)
    expect(streams).to.have.lengthOf(0)
    expect(warned).to.have.lengthOf(0)
  })

  for (const [what, server, client] of [
    ['the server does not end to prepare', { endless: 'prepare' }, {}],
    ['it does not end to prepare', {}, { endless: 'prepare' }],
    ['the server does not end to connect', { endless: 'connect' }, {}],
    ['it does not end to connect', {}, { endless: 'connect' }],
  ] as const) {
    it(`stays on its socket where ${what}, and the next one does not wait for that again`, async () => {
      const { streams, warned, service, endpoint } = await ask(server, client, { carrierTimeoutMs: 50 })
      const prepared = preparedCarriers.length
      const texts = ['c', 'd', 'e']
      const calls = texts.map(text => service.connect(endpoint).call(ECHO, { text }))
      expect(await Promise.all(calls)).to.deep.equal(texts.map(text => ({ text })))
      expect(preparedCarriers).to.have.lengthOf(prepared)
      expect(warned).to.have.lengthOf(1)
      expect(warned[0]!.fields['reason']).to.contain('within 50 ms')
      await until(() => streams.every(stream => stream.closed))
    })
  }

  it('tries a carrier that has failed again after idleConnectionMs', async () => {
    const options = { idleConnectionMs: 100, keepAliveMs: 20 }
    const { service, endpoint } = await ask({}, { failing: 'prepare' }, options)
    const prepared = preparedCarriers.length
    await until(async () => {
      await service.connect(endpoint).call(ECHO, { text: 'c' })
      return preparedCarriers.length > prepared
    })
  })

  it('ends where the client does not say whether it is carried', async () => {
    const clock = new ManualClock()
    const server = await startEcho({ carrierTimeoutMs: 50 }, { clock, carriers: [socketCarrier()] })
    const peer = await RawPeer.authenticated(server.endpoint, { features: ['socket/1'] })
    clock.advance(99)
    clock.advance(1)
    expect(await peer.body()).to.include({ code: 'ERR_RPC_TIMEOUT' })
    await peer.ended
  })

  it('moves to the carrier that the client prefers, however the server does', async () => {
    const before = { streams: carrierStreams.length, prepared: preparedCarriers.length }
    const { endpoint } = await startEcho({}, { carriers: [socketCarrier(), otherCarrier()] })
    const { service, logger } = await startService({}, { carriers: [otherCarrier(), socketCarrier()] })
    expect(await service.connect(endpoint).call(ECHO, { text: 'a' })).to.deep.equal({ text: 'a' })
    expect(preparedCarriers.slice(before.prepared)).to.deep.equal(['other/1', 'other/1'])
    expect(carrierStreams.slice(before.streams)).to.have.lengthOf(2)
    expect(logger.lines.filter(({ level }) => level === 'warn')).to.deep.equal([])
  })

  it('that a carrier lost is made again', async () => {
    const { streams, service, endpoint } = await ask({}, {})
    for (const stream of streams) stream.destroy()
    const client = service.connect(endpoint)
    const again = async (): Promise<object> => await client.call(ECHO, { text: 'c' }).catch(again)
    expect(await again()).to.deep.equal({ text: 'c' })
  })
})
