import { expect } from 'chai'
import { errorCode, noMetrics, silentLogger, type Logger } from '@mooncake-ts/core'
import { failureOf, until } from '@mooncake-ts/testkit'
import { RdmaCarrier } from '../dist/rpc/carrier.js'
import { EventKind, native, type NativeEvent } from '../dist/native.js'

const FLUSHED = 5

/** A device as the addon has it, where everything goes well and peers say what a test wants. */
class MadeUpDevice {
  static last: MadeUpDevice
  readonly said: NativeEvent[] = []
  lastId = 0
  unread = Buffer.alloc(0)
  hasEnded = false
  hasFinished = false
  closed = false
  readonly #onNews: () => void

  constructor(_options: unknown, _streams: unknown, onNews: () => void) {
    this.#onNews = onNews
    MadeUpDevice.last = this
  }

  tell(kind: number, subject: number, status = 0): void {
    this.said.push({ kind, subject, status, rkey: 0, numaNode: -1, text: '', bytes: new Uint8Array(200) })
    setImmediate(this.#onNews)
  }

  describe(): object {
    return { errno: 0, active: true, gid: new Uint8Array(16) }
  }
  create(id: number): void {
    this.lastId = id
    this.tell(EventKind.created, id)
  }
  connect(id: number): boolean {
    this.tell(EventKind.connected, id)
    return true
  }
  readableBytes(): number {
    return this.#open().unread.byteLength
  }
  read(_id: number, into: Uint8Array): number {
    const count = this.#open().unread.copy(into)
    this.unread = this.unread.subarray(count)
    return count
  }
  finish(): void {
    this.#open().hasFinished = true
  }
  ended(): boolean {
    return this.#open().hasEnded
  }
  finished(): boolean {
    return this.#open().hasFinished
  }
  closeStream(id: number): void {
    this.tell(EventKind.closed, id, FLUSHED)
  }
  forget(): void {}
  take(): [Float64Array, NativeEvent[]] {
    return [new Float64Array(0), this.said.splice(0)]
  }
  setReferenced(): void {}
  close(): void {
    this.closed = true
  }

  /** As the addon does: calls about a stream throw when the device is closed. */
  #open(): this {
    if (this.closed) throw new Error('The device was closed')
    return this
  }
}

describe('streams over RDMA, on a made-up device', () => {
  const warnings: string[] = []
  const logger: Logger = {
    ...silentLogger,
    warn: message => {
      warnings.push(message)
    },
  }
  let real: { probe: unknown; MessageDevice: unknown }
  before(function () {
    try {
      real = { ...native() }
    } catch {
      this.skip() // No headers to build it with.
    }
    const probe = (): object => ({ problem: '', errno: 0, devices: ['made-up'] })
    Object.assign(native(), { probe, MessageDevice: MadeUpDevice })
  })
  after(() => {
    if (real != null) Object.assign(native(), real)
  })

  async function carrierOf(streamsMax: number): Promise<RdmaCarrier> {
    warnings.length = 0
    const carrier = new RdmaCarrier({ streamsMax }, { logger, metrics: noMetrics })
    await carrier.start()
    return carrier
  }

  it('say once that streamsMax is reached, and that it is this which keeps connections on their sockets', async () => {
    const carrier = await carrierOf(2)
    await Promise.all([carrier.prepare(), carrier.prepare()])
    expect(carrier.ready).to.equal(false)
    for (let i = 0; i < 2; i++) {
      expect(((await failureOf(carrier.prepare())) as Error).message).to.match(/streamsMax \(2\) is reached/)
    }
    expect(warnings).to.have.lengthOf(1)
    expect(warnings[0]).to.match(/stay on their sockets: streamsMax \(2\) is reached/)
    await carrier.stop()
  })

  it('all end with their device, each with its reason', async () => {
    const carrier = await carrierOf(8)
    const ends = await Promise.all([1, 2, 3].map(() => carrier.prepare()))
    const [waiting, ...others] = ends
    const streams = await Promise.all(others.map(end => end.connect(new Uint8Array(200))))
    const failures: unknown[] = []
    for (const stream of streams) stream.on('error', error => failures.push(error))
    streams[0]!.end() // Whether it ended in order is asked of the device, which has nothing to say any more.
    await until(() => MadeUpDevice.last.hasFinished)
    await carrier.stop()
    await until(() => failures.length === 2)
    expect(failures.map(errorCode)).to.deep.equal(['ERR_RPC_FAIL', 'ERR_RPC_FAIL'])
    waiting!.discard()
    expect(((await failureOf(waiting!.connect(new Uint8Array(200)))) as Error).message).to.match(/has ended/)
  })

  it('give a slow reader what a peer said before it went', async () => {
    const carrier = await carrierOf(8)
    const end = await carrier.prepare()
    const stream = await end.connect(new Uint8Array(200))
    const device = MadeUpDevice.last
    stream.end()
    await until(() => device.hasFinished)
    device.unread = Buffer.from('all of it')
    device.hasEnded = true
    device.tell(EventKind.closed, device.lastId, FLUSHED)
    await until(() => device.said.length === 0 && stream.writableFinished)
    const read: Buffer[] = []
    for await (const bytes of stream) read.push(bytes as Buffer)
    expect(Buffer.concat(read).toString()).to.equal('all of it')
    await carrier.stop()
  })
})
