import { Duplex } from 'node:stream'
import { expect } from 'chai'
import { MooncakeError, type CarriedEnd, type RpcCarrier } from '@mooncake-ts/core'
import { encodeFrame } from '../dist/wire/codec.js'
import { FrameKind, FrameReader } from '../dist/wire/frame.js'
import { Move } from '../dist/wire/move.js'
import { Deferred, failure, ManualClock } from './support.js'

const TIMEOUT_MS = 100

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Whose steps end when the test says so, and that knows what was made and not given back. */
class HeldCarrier implements RpcCarrier {
  readonly name = 'held/1'
  readonly ready = true
  readonly prepared = new Deferred()
  readonly connected = new Deferred()
  connecting = false
  ends = 0
  readonly streams: Duplex[] = []

  async prepare(): Promise<CarriedEnd> {
    await this.prepared.promise
    this.ends++
    const givenUp = new Deferred<never>()
    return {
      info: Uint8Array.of(1),
      connect: async () => {
        this.connecting = true
        await Promise.race([this.connected.promise, givenUp.promise])
        this.ends--
        const stream = new Duplex({ read: () => {}, write: () => {} })
        this.streams.push(stream)
        return stream
      },
      discard: () => {
        this.ends--
        givenUp.resolve(Promise.reject(new MooncakeError('ERR_RPC_FAIL', 'given up')) as never)
      },
    }
  }
}

/** One end of a move; what it sends stays until the test takes it. */
class End {
  readonly carrier = new HeldCarrier()
  readonly clock = new ManualClock()
  readonly sent: Buffer[] = []
  readonly said: string[] = []
  readonly move: Move

  constructor(role: 'client' | 'server') {
    this.move = new Move(
      role,
      { clock: this.clock, carriers: [this.carrier], timeoutMs: TIMEOUT_MS },
      {
        send: frame => this.sent.push(frame),
        onDone: (stream, why) => this.said.push(stream == null ? `stays: ${why?.message}` : 'moved'),
        onFail: ({ code }) => this.said.push(`failed: ${code}`),
      },
    )
  }

  /** Hands over all that the other end has sent. */
  take(other: End): void {
    for (const frame of other.sent.splice(0)) this.takeFrame(frame)
  }

  takeFrame(bytes: Buffer): void {
    new FrameReader(4096).push(bytes, frame => {
      this.move.receive(frame)
      return true
    })
  }

  get left(): number {
    return this.carrier.ends + this.carrier.streams.filter(({ destroyed }) => !destroyed).length
  }
}

const offer = encodeFrame(FrameKind.carry, 0, 0, { carrier: 'held/1', info: Uint8Array.of(1) })
const answer = encodeFrame(FrameKind.carry, 0, 0, { info: Uint8Array.of(1) })

describe('a move to a carrier', () => {
  for (const role of ['client', 'server'] as const) {
    const begun = (): End => {
      const end = new End(role)
      if (role === 'server') end.takeFrame(offer)
      return end
    }
    const connecting = async (): Promise<End> => {
      const end = begun()
      end.carrier.prepared.resolve()
      await turn()
      if (role === 'client') end.takeFrame(answer)
      await turn()
      expect(end.carrier.connecting).to.equal(true)
      end.sent.splice(0)
      return end
    }

    it(`of a ${role} gives back what it prepared although the link had ended`, async () => {
      const end = begun()
      end.move.cancel()
      end.carrier.prepared.resolve()
      await turn()
      expect(end).to.deep.include({ left: 0, sent: [], said: [] })
      expect(end.clock.pending).to.equal(0)
    })

    it(`of a ${role} stops to connect when the link ends`, async () => {
      const end = await connecting()
      end.move.cancel()
      expect(end.carrier.ends).to.equal(0)
      await turn()
      expect(end).to.deep.include({ left: 0, sent: [], said: [] })
    })

    it(`of a ${role} gives back a stream that comes when the link has ended`, async () => {
      const end = await connecting()
      end.carrier.connected.resolve()
      end.move.cancel()
      await turn()
      expect(end.carrier.streams.every(({ destroyed }) => destroyed)).to.equal(true)
      expect(end).to.deep.include({ sent: [], said: [] })
    })

    it(`of a ${role} ends when the peer gives it up while something is under way`, async () => {
      const end = await connecting()
      end.takeFrame(encodeFrame(FrameKind.carry, 0, 0, { failed: 'too slow' }))
      await turn()
      expect(end).to.deep.include({ left: 0, sent: [], said: ['stays: the peer says: too slow'] })
    })

    it(`of a ${role} is given no other frame while something is under way`, async () => {
      const end = await connecting()
      for (const frame of [offer, encodeFrame(FrameKind.ping, 1, 0, {})]) {
        const error = await failure(() => {
          end.takeFrame(frame)
        })
        expect(error).to.include({ code: 'ERR_PROTOCOL' })
      }
    })
  }

  it('that takes too long is given up by both ends, and what had been sent before is ignored', async () => {
    const client = new End('client')
    const server = new End('server')
    client.carrier.prepared.resolve()
    await turn()
    server.take(client)
    server.carrier.prepared.resolve()
    server.carrier.connected.resolve()
    await turn()
    client.clock.advance(TIMEOUT_MS)
    expect(client.said).to.deep.equal([`stays: no connection within ${TIMEOUT_MS} ms`])
    client.take(server)
    server.take(client)
    expect(server.said).to.deep.equal([`stays: the peer says: no connection within ${TIMEOUT_MS} ms`])
    await turn()
    for (const end of [client, server]) expect(end).to.deep.include({ left: 0, sent: [] })
  })

  it('for which the client leaves the server waiting fails', async () => {
    const server = new End('server')
    server.takeFrame(offer)
    server.carrier.prepared.resolve()
    server.carrier.connected.resolve()
    await turn()
    server.clock.advance(2 * TIMEOUT_MS - 1)
    expect(server.said).to.deep.equal([])
    server.clock.advance(1)
    expect(server).to.deep.include({ left: 0, said: ['failed: ERR_RPC_TIMEOUT'] })
  })

  it('stays where the client names a carrier that was not agreed on', async () => {
    const server = new End('server')
    server.takeFrame(encodeFrame(FrameKind.carry, 0, 0, { carrier: 'other/1', info: Uint8Array.of(1) }))
    await turn()
    expect(server.said).to.deep.equal(['stays: the carrier other/1 was not agreed on'])
  })
})
