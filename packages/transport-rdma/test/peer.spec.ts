import { expect } from 'chai'
import {
  BatchesInFlight,
  BatchOperation,
  MooncakeError,
  noMetrics,
  silentLogger,
  systemClock,
  type TransferOp,
} from '@mooncake-ts/core'
import { collect, until } from '@mooncake-ts/testkit'
import type { Device, EndpointHandle, OnOperationEnd, Registered } from '../dist/device.js'
import { DeviceHealth } from '../dist/devices.js'
import type { WindowKey } from '../dist/key.js'
import { LinkStore } from '../dist/link.js'
import { TransportMetrics } from '../dist/metrics.js'
import { resolveOptions } from '../dist/options.js'
import { Peer } from '../dist/peer.js'
import type { Session } from '../dist/session.js'

/** A device that makes endpoints, or refuses the next, and moves everything at once. */
class QuietDevice {
  readonly name = 'quiet0'
  readonly port = { active: true, ethernet: true, numaNode: -1 }
  made = 0
  refusal: MooncakeError | undefined
  readonly #closing = new Map<number, () => void>()
  readonly #ends: OnOperationEnd[] = []

  createEndpoint(): Promise<EndpointHandle> {
    const { refusal } = this
    this.refusal = undefined
    if (refusal != null) return Promise.reject(refusal)
    const id = ++this.made
    const closed = new Promise<void>(resolve => {
      this.#closing.set(id, resolve)
    })
    return Promise.resolve({ id, info: new Uint8Array(0), closed })
  }

  connectEndpoint(): Promise<void> {
    return Promise.resolve()
  }

  closeEndpoint(id: number): void {
    this.#closing.get(id)!()
  }

  onOperation(onEnd: OnOperationEnd): number {
    return this.#ends.push(onEnd)
  }

  submit(): void {
    for (const onEnd of this.#ends.splice(0))
      queueMicrotask(() => {
        onEnd(0)
      })
  }
}

/** Transports beyond one device, which has room for `linksMax` of them. */
class Bench {
  readonly quiet = new QuietDevice()
  readonly device = this.quiet as unknown as Device
  readonly store: LinkStore

  constructor(linksMax: number) {
    this.store = new LinkStore(linksMax)
  }

  peer(): Peer {
    const session = {
      endpoint: 'there',
      devices: [{ number: 0, name: 'quiet1', ethernet: true }],
      ended: new Promise(() => {}),
      connectLink: () => Promise.resolve(new Uint8Array(0)),
      closeLink: () => Promise.resolve(),
    } as unknown as Session
    const counts = { links: () => 0, stagingBytes: () => 0, stagingWaiting: () => 0 }
    return new Peer({
      options: resolveOptions({ devicePauseMs: 1 }),
      clock: systemClock,
      logger: silentLogger,
      metrics: new TransportMetrics(noMetrics, counts),
      devices: [this.device],
      health: new DeviceHealth([this.device], silentLogger),
      store: this.store,
      openSession: () => Promise.resolve(session),
    })
  }

  /** Moves one piece. Gives `OK`, or why not. */
  async move(peer: Peer, pending?: Promise<void>): Promise<string> {
    const remote = { window: {}, offset: 0, byteLength: 1 }
    const op = { kind: 'read', local: { byteLength: 1 }, remote } as unknown as TransferOp
    const byDevice = new Map<Device, Registered>([[this.device, { id: 1, rkey: 1, numaNode: -1 }]])
    const registration = { offset: 0, byteLength: 1, byDevice, error: undefined, pending }
    const key: WindowKey = { slot: 0, token: [0, 0, 0, 0], name: '' }
    const moving = new BatchesInFlight(systemClock, 1000).run([op], new AbortController().signal, () => ({
      queue: (batch, index) => {
        const operation = new BatchOperation(batch, index, op)
        peer.run([{ operation, key, registration, localOffset: 0, offset: 0, byteLength: 1, attempts: 0 }])
      },
      post: () => {},
      takeBack: () => {},
      giveUp: () => {},
    }))
    const [completion] = await collect(moving)
    return completion!.error?.message ?? 'OK'
  }
}

describe('links to several peers', () => {
  it('one that made room for another while memory was registered is made again', async () => {
    const bench = new Bench(1)
    const peer = bench.peer()
    let register = (): void => {}
    const moved = bench.move(
      peer,
      new Promise(resolve => {
        register = resolve
      }),
    )
    await until(() => peer.links.some(link => link.up))
    expect(await bench.move(bench.peer())).to.equal('OK')
    expect(peer.links.some(link => link.up)).to.equal(false)
    register()
    expect(await moved).to.equal('OK')
    expect(bench.quiet.made).to.equal(3)
  })

  it('an idle one makes room on a device that has none left, and only there', async () => {
    const bench = new Bench(10)
    const idle = bench.peer()
    expect(await bench.move(idle)).to.equal('OK')
    bench.quiet.refusal = new MooncakeError('ERR_TRANSFER_FAIL', 'no GID')
    expect(await bench.move(bench.peer())).to.contain('no GID')
    expect(idle.links.some(link => link.up)).to.equal(true)
    bench.quiet.refusal = new MooncakeError('ERR_OVERLOADED', 'ENOSPC')
    expect(await bench.move(bench.peer())).to.equal('OK')
    expect(idle.links.some(link => link.up)).to.equal(false)
  })
})
