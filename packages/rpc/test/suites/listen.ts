import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { expect } from 'chai'
import {
  cleanUp,
  ECHO,
  failure,
  RawPeer,
  startEcho,
  startServer,
  startService,
  temporaryDirectory,
} from '../support.js'

export function listening(): void {
  afterEach(cleanUp)

  it('is not needed to call', async () => {
    const server = await startEcho()
    const { service } = await startService()
    expect(service.endpoints).to.deep.equal([])
    await service.connect(server.endpoint).call(ECHO, { text: '' })
  })

  it('on any free port tells which one, for each address', async () => {
    const { service } = await startEcho({ listen: ['127.0.0.1:0', '127.0.0.1:0'] })
    const { service: caller } = await startService()
    expect(new Set(service.endpoints)).to.have.lengthOf(2)
    for (const endpoint of service.endpoints) {
      expect(endpoint).to.match(/^127\.0\.0\.1:[1-9]\d*$/)
      await caller.connect(endpoint).call(ECHO, { text: '' })
    }
  })

  it('on a unix socket works, and leaves no file behind', async () => {
    const path = join(temporaryDirectory(), 'rpc.sock')
    const { host, service, endpoint } = await startEcho({ listen: [`unix:${path}`] })
    expect(endpoint).to.equal(`unix:${path}`)
    expect(await service.connect(endpoint).call(ECHO, { text: 'near' })).to.deep.equal({ text: 'near' })
    await host.stop()
    expect(existsSync(path)).to.equal(false)
  })

  it('takes over the socket file of a process that was killed', async () => {
    const path = join(temporaryDirectory(), 'rpc.sock')
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', script])
    expect(existsSync(path)).to.equal(true)
    const { service, endpoint } = await startEcho({ listen: [`unix:${path}`] })
    await service.connect(endpoint).call(ECHO, { text: '' })
  })

  it('does not take over the socket file of a process that lives', async () => {
    const listen = [`unix:${join(temporaryDirectory(), 'rpc.sock')}`]
    const first = await startEcho({ listen })
    const error = await failure(() => startServer({ listen }))
    expect(error.cause).to.include({ code: 'ERR_ADDRESS_IN_USE' })
    await first.service.connect(first.endpoint).call(ECHO, { text: '' })
  })

  it('on a port that is taken fails with its name, and frees those before', async () => {
    const { endpoint } = await startServer()
    const path = join(temporaryDirectory(), 'rpc.sock')
    const error = await failure(() => startServer({ listen: [`unix:${path}`, endpoint] }))
    expect(error.cause).to.include({ code: 'ERR_ADDRESS_IN_USE' })
    expect(error.message).to.contain(endpoint)
    expect(existsSync(path)).to.equal(false)
  })

  it('where the system refuses says what it said', async () => {
    const error = await failure(() => startServer({ listen: ['unix:/proc/no/such/rpc.sock'] }))
    expect(error.cause).to.include({ code: 'ERR_IO' })
  })

  it('beyond loopback without a secret is refused', async () => {
    const error = await failure(() => startServer({ listen: ['0.0.0.0:0'] }))
    expect(error.cause).to.include({ code: 'ERR_INSECURE_BIND' })
  })

  for (const around of [{ secret: 'moon' }, { allowInsecure: true }]) {
    it(`beyond loopback is allowed with ${Object.keys(around)[0]}, and reachable as advertised`, async () => {
      const { service, endpoint } = await startEcho({ listen: ['0.0.0.0:0'] }, around)
      expect(endpoint).not.to.match(/^0\.0\.0\.0/)
      await service.connect(endpoint).call(ECHO, { text: '' })
      const named = await startServer({ listen: ['0.0.0.0:0'], advertiseHost: 'node-1' }, around)
      expect(named.endpoint).to.match(/^node-1:\d+$/)
    })
  }

  it('on loopback without a secret is said once', async () => {
    const { logger } = await startServer({ listen: ['127.0.0.1:0', '127.0.0.1:0'] })
    expect(logger.lines.filter(({ message }) => message.includes('no cluster secret'))).to.have.lengthOf(1)
    const secured = await startServer({}, { secret: 'moon' })
    expect(
      secured.logger.lines.filter(({ message }) => message.includes('no cluster secret')),
    ).to.have.lengthOf(0)
  })

  it('takes no more than connectionsMax', async () => {
    const { endpoint } = await startEcho({ connectionsMax: 1 })
    const first = await RawPeer.authenticated(endpoint)
    const second = await RawPeer.connect(endpoint)
    await second.ended
    expect(first.socket.destroyed).to.equal(false)
  })
}

export function aConnectionToNowhere(): void {
  afterEach(cleanUp)

  it('is refused when nobody listens', async () => {
    const { service } = await startService()
    const error = await failure(() => service.connect('localhost:1').call(ECHO, { text: '' }))
    expect(error).to.include({ code: 'ERR_RPC_FAIL', retryable: true })
    expect(error.message).to.contain('localhost:1').and.to.contain('ECONNREFUSED')
  })

  it('is given up after connectTimeoutMs or handshakeTimeoutMs', async () => {
    const mute = createServer(() => {}).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as { port: number }
    const { service } = await startService({ handshakeTimeoutMs: 20 })
    const error = await failure(() => service.connect(`127.0.0.1:${port}`).call(ECHO, { text: '' }))
    expect(error).to.include({ code: 'ERR_RPC_FAIL' })
    expect(error.message).to.contain('20 ms')
    mute.close()
  })

  it('needs an endpoint', async () => {
    const { service } = await startService()
    expect(await failure(() => service.connect('nowhere'))).to.include({ code: 'ERR_INVALID_PARAMS' })
  })
}
