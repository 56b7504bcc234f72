import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect } from 'chai'
import type { Security } from '@mooncake-ts/core'
import { failureOf, rejectsWith } from '@mooncake-ts/testkit'
import { ControlConnection } from '../dist/control/connection.js'
import { bytesOf, integerOf, textOf } from '../dist/control/fields.js'
import { greetAsClient, greetAsServer } from '../dist/control/handshake.js'

describe('the control connection', () => {
  let server: Server
  let sockets: Socket[]

  beforeEach(async () => {
    sockets = []
    server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  async function pair(): Promise<{ client: Socket; server: Socket }> {
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = connect(server.address() as { port: number; host?: string })
    const [[other]] = await Promise.all([accepted, once(client, 'connect')])
    sockets.push(client, other)
    return { client, server: other }
  }

  const secret = (text?: string): Security => ({
    allowInsecure: false,
    ...(text == null ? {} : { secret: text }),
  })

  async function greet(mine: Security, theirs: Security): Promise<[client: unknown, server: unknown]> {
    const ends = await pair()
    const [client, other] = [new ControlConnection(ends.client), new ControlConnection(ends.server)]
    const welcome = { devices: [{ number: 0, name: 'rxe0', ethernet: true }] }
    const both = [
      greetAsClient(client, mine).catch((error: unknown) => error),
      greetAsServer(other, theirs, welcome).catch((error: unknown) => {
        other.destroy(error as never)
        return error
      }),
    ]
    const [first] = await Promise.all([
      both[0]!.then(result => (client.destroy(new Error('done') as never), result)),
      both[1],
    ])
    return [first, await both[1]]
  }

  it('proves the secret in both directions, and then tells the devices', async () => {
    const [client, other] = await greet(secret('s'), secret('s'))
    expect(client).to.have.nested.property('devices[0].name', 'rxe0')
    expect(other).to.equal(undefined)
    const [without] = await greet(secret(), secret())
    expect(without).to.have.property('welcome', true)
  })

  for (const [mine, theirs] of [
    ['s', 't'],
    ['s', undefined],
    [undefined, 's'],
  ] as const) {
    it(`refuses ${mine ?? 'no secret'} against ${theirs ?? 'no secret'}`, async () => {
      const [client] = await greet(secret(mine), secret(theirs))
      expect(client).to.have.property('code', 'ERR_UNAUTHENTICATED')
    })
  }

  const hostile: ReadonlyArray<readonly [what: string, bytes: Buffer]> = [
    ['a frame beyond the limit', Buffer.from([0xff, 0xff, 0xff, 0x7f])],
    ['something that is not JSON', Buffer.concat([Buffer.from([3, 0, 0, 0]), Buffer.from('abc')])],
    ['something that is no object', Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from('[]')])],
    [
      'an endless talk without a listener',
      Buffer.concat(Array.from({ length: 40 }, () => Buffer.from('\u0002\0\0\0{}'))),
    ],
  ]
  for (const [what, bytes] of hostile) {
    it(`ends on ${what}`, async () => {
      const ends = await pair()
      const connection = new ControlConnection(ends.server)
      ends.client.on('error', () => {})
      ends.client.write(bytes)
      expect(await connection.ended).to.have.property('code', 'ERR_PROTOCOL')
      expect(connection.open).to.equal(false)
    })
  }

  it('puts frames together that come in pieces, and hands over what came before somebody listened', async () => {
    const ends = await pair()
    const [client, other] = [new ControlConnection(ends.client), new ControlConnection(ends.server)]
    const seen: unknown[] = []
    for (let i = 0; i < 3; i++) client.send({ i })
    expect(await other.next()).to.deep.equal({ i: 0 })
    const third = new Promise<void>(resolve => {
      other.onMessage(message => {
        seen.push(message.i)
        if (message.i === 2) resolve()
      })
    })
    await third
    expect(seen).to.deep.equal([1, 2])
  })

  it('ends with the other end', async () => {
    const ends = await pair()
    const connection = new ControlConnection(ends.server)
    ends.client.destroy()
    expect(await connection.ended).to.have.property('code', 'ERR_TRANSFER_FAIL')
    await rejectsWith(connection.next(), 'ERR_TRANSFER_FAIL')
  })

  it('checks fields', async () => {
    const message = { text: 'abc', number: 7, bytes: Buffer.from([1, 2]).toString('base64') }
    expect(textOf(message, 'text')).to.equal('abc')
    expect(integerOf(message, 'number', 7)).to.equal(7)
    expect([...bytesOf(message, 'bytes')]).to.deep.equal([1, 2])
    const wrong = [
      () => textOf(message, 'number'),
      () => textOf(message, 'text', 2),
      () => integerOf(message, 'number', 6),
      () => integerOf({ number: -1 }, 'number'),
      () => integerOf(message, 'text'),
      () => bytesOf(message, 'bytes', 1),
    ]
    for (const take of wrong) expect(await failureOf(take)).to.have.property('code', 'ERR_PROTOCOL')
  })
})
