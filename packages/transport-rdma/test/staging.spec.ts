import { expect } from 'chai'
import {
  BatchesInFlight,
  BatchOperation,
  kib,
  noMetrics,
  silentLogger,
  systemClock,
  type Batch,
  type RemoteSlice,
  type TransferOp,
} from '@mooncake-ts/core'
import { createMemory, wrapBuffer } from '@mooncake-ts/memory'
import { watch, type Watch } from '@mooncake-ts/testkit'
import type { Device } from '../dist/device.js'
import { DeviceHealth } from '../dist/devices.js'
import type { WindowKey } from '../dist/key.js'
import { LinkStore } from '../dist/link.js'
import { TransportMetrics } from '../dist/metrics.js'
import { resolveOptions } from '../dist/options.js'
import { Outgoing } from '../dist/outgoing.js'
import { Peer } from '../dist/peer.js'
import { cut } from '../dist/piece.js'
import { Registrations } from '../dist/registrations.js'
import { StagedOperation } from '../dist/staged-operation.js'
import { Staging, type StagedSlice } from '../dist/staging.js'

const CAPACITY_BYTES = kib(64)
const KEY: WindowKey = { slot: 1, token: [0, 0, 0, 0], name: '' }

const cleanups: Array<() => unknown> = []

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** A peer whose control connection is being made for ever: what is moved to it waits. */
function unreachable(): Peer {
  const metrics = new TransportMetrics(noMetrics, {
    links: () => 0,
    stagingBytes: () => 0,
    stagingWaiting: () => 0,
  })
  return new Peer({
    options: resolveOptions({}),
    clock: systemClock,
    logger: silentLogger,
    metrics,
    devices: [],
    health: new DeviceHealth<Device>([], silentLogger),
    store: new LinkStore(1),
    openSession: () => new Promise(() => {}),
  })
}

/** What a transport does with staged operations, without devices: what is posted ends when the test says so. */
class Bench {
  readonly staging: Staging
  /** How often each operation has come to rest, by its place in the batch. */
  readonly rests: number[] = []
  readonly inFlight = new Map<number, StagedOperation>()
  readonly #memory = createMemory()
  readonly #outgoing = new Outgoing()
  readonly #peer = unreachable()
  /** Whether what is staged goes to the peer, and waits there; else it is in flight at once. */
  readonly #toPeer: boolean

  constructor({ toPeer = false } = {}) {
    this.#toPeer = toPeer
    this.staging = new Staging(this.#memory, new Registrations([]), CAPACITY_BYTES)
    this.staging.prepare()
    cleanups.push(
      () => this.#memory.close(),
      () => {
        this.staging.close()
      },
    )
  }

  /** Takes room from whoever comes later. */
  occupy(byteLength: number): StagedSlice {
    let occupied: StagedSlice | undefined
    this.staging.acquire(byteLength, staged => {
      occupied = staged
    })
    return occupied!
  }

  run(kind: 'read' | 'write', sizes: readonly number[], signal: AbortSignal): Watch {
    const ops = sizes.map(byteLength => {
      const region = wrapBuffer(Buffer.alloc(byteLength))
      return { kind, local: { region, offset: 0, byteLength }, remote: {} as RemoteSlice }
    })
    const batches = new BatchesInFlight(systemClock, 60_000)
    return watch(
      batches.run(ops, signal, () => ({
        queue: (batch, index, op) => {
          this.#queue(batch, index, op)
        },
        post: () => {
          this.#outgoing.post()
        },
        takeBack: batch => {
          this.#outgoing.takeBack(batch)
        },
        giveUp: () => {},
      })),
    )
  }

  #queue(batch: Batch, index: number, op: TransferOp): void {
    this.rests[index] = 0
    const whole = new BatchOperation(batch, index, op, () => {
      this.rests[index]!++
    })
    const operation = new StagedOperation(whole, {
      staging: this.staging,
      copyPool: this.#memory.copyPool,
      onAdmitted: admitted => {
        this.#outgoing.admitted(admitted)
      },
      post: (staged, { slice, registration }) => {
        if (this.#toPeer) this.#outgoing.add(this.#peer, cut(staged, KEY, slice, registration, kib(64)))
        else this.inFlight.set(index, staged)
      },
    })
    if (!operation.admitted) this.#outgoing.await(operation)
  }
}

describe('staged operations', () => {
  afterEach(() => {
    for (const cleanup of cleanups.splice(0).reverse()) cleanup()
  })

  for (const kind of ['read', 'write'] as const) {
    it(`${kind}: an abort that makes room for a smaller one of the batch ends each once, at rest`, async () => {
      const bench = new Bench()
      const others = bench.occupy(kib(32))
      const abort = new AbortController()
      const outcome = bench.run(kind, [kib(16), kib(64), kib(4), kib(48), kib(8)], abort.signal)
      while (bench.inFlight.size === 0) await turn()
      abort.abort(new Error('enough'))
      while (bench.staging.usedBytes > kib(48)) await turn() // What writes have begun to copy.
      await turn()
      expect(bench.rests).to.deep.equal([0, 1, 1, 1, 1])
      expect(outcome.hasEnded).to.equal(false)
      bench.inFlight.get(0)!.settle()
      const { error } = await outcome.ended
      expect(error).to.have.property('message', 'enough')
      expect(bench.rests).to.deep.equal([1, 1, 1, 1, 1])
      others[Symbol.dispose]()
      expect(bench.staging).to.include({ usedBytes: 0, waiting: 0 })
    })
  }

  it('that get their room after the batch was posted are taken back by an abort in the same turn', async () => {
    const bench = new Bench({ toPeer: true })
    const others = bench.occupy(kib(64))
    const abort = new AbortController()
    const outcome = bench.run('read', [kib(16)], abort.signal)
    others[Symbol.dispose]()
    abort.abort(new Error('enough'))
    const { error } = await outcome.ended
    expect(error).to.have.property('message', 'enough')
    expect(bench.rests).to.deep.equal([1])
    expect(bench.staging).to.include({ usedBytes: 0, waiting: 0 })
  })
})
