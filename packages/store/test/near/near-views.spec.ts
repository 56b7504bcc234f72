import { expect } from 'chai'
import { MooncakeError, type Exposure, type Region, type Transport } from '@mooncake-ts/core'
import { createMemory, type Memory } from '@mooncake-ts/memory'
import { until, VirtualClock } from '@mooncake-ts/testkit'
import { NearViews } from '../../dist/near/near-views.js'
import type { Neighbour } from '../../dist/near/neighbour.js'
import type { Neighbours } from '../../dist/near/neighbours.js'
import type { PinSession } from '../../dist/near/pin-session.js'
import type { PeerClient } from '../../dist/peers/peer-client.js'
import { settled } from '../local/support/harness.js'

/** Everything around the views of one neighbour. */
class Scene {
  readonly clock = new VirtualClock()
  readonly exposed: Region[] = []
  readonly sessions: PinSession[] = []
  asked = 0
  revoked = 0
  answer: () => { readonly pinLeaseMs?: number } = () => ({ pinLeaseMs: 5000 })
  readonly peer = {
    endpoint: 'owner:1',
    openPlaces: async (request: { isNeighbour: boolean; pins?: { windows: unknown[] } }) => {
      expect([request.isNeighbour, request.pins?.windows.length]).to.deep.equal([true, 1])
      this.asked++
      return await Promise.resolve({ regions: [], ...this.answer() })
    },
  } as unknown as PeerClient
  readonly views: NearViews
  neighbour = this.aNeighbour()

  constructor(memory: Memory) {
    const neighbours = { at: () => this.neighbour } as unknown as Neighbours
    this.views = new NearViews({ clock: this.clock, memory, neighbours })
  }

  aNeighbour(): Neighbour {
    const transport = {
      expose: (region: Region): Exposure => {
        this.exposed.push(region)
        return {
          window: { scheme: 's', endpoint: 'e', key: new Uint8Array(1) },
          revoke: async () => {
            this.revoked++
            await Promise.resolve()
          },
        }
      },
    } as unknown as Transport
    const view = async (_key: string, session: PinSession) => {
      this.sessions.push(session)
      await Promise.resolve()
    }
    return { transport, view } as unknown as Neighbour
  }

  get closed(): number {
    return this.exposed.filter(({ closed }) => closed).length
  }
}

describe('NearViews', () => {
  const never = new AbortController().signal
  let memory: Memory
  let scene: Scene

  const opened = () => until(() => scene.views.at(scene.peer) != null)

  beforeEach(() => {
    memory = createMemory({ copyThreads: 1 })
    scene = new Scene(memory)
  })
  afterEach(async () => {
    scene.views.close()
    expect([scene.closed, scene.revoked]).to.deep.equal([scene.exposed.length, scene.exposed.length])
    await memory.close()
  })

  it('tell an owner once of their pins, in the background', async () => {
    expect(scene.views.at(scene.peer)).to.equal(undefined)
    expect(scene.views.at(scene.peer)).to.equal(undefined)
    await opened()
    for (let i = 0; i < 300; i++) await scene.views.at(scene.peer)!('k', never)
    expect([scene.asked, scene.exposed.length, new Set(scene.sessions).size]).to.deep.equal([1, 1, 1])
  })

  for (const [who, answer] of [
    ['knows nothing of pins', () => ({})],
    ['has too short a lease', () => ({ pinLeaseMs: 999 })],
    [
      'does not answer',
      () => {
        throw new MooncakeError('ERR_RPC_TIMEOUT')
      },
    ],
  ] as const) {
    it(`ask for each view where the owner ${who}, and try again later`, async () => {
      scene.answer = answer
      for (let tries = 1; tries <= 2; tries++) {
        expect(scene.views.at(scene.peer)).to.equal(undefined)
        await settled()
        expect(scene.views.at(scene.peer)).to.equal(undefined)
        expect([scene.asked, scene.closed]).to.deep.equal([tries, tries])
        await scene.clock.advance(10_000)
      }
      expect(scene.clock.pending).to.equal(0)
    })
  }

  it('begin anew when their pins were lost, and with another neighbour, where those of the one before stay', async () => {
    await opened()
    await scene.views.at(scene.peer)!('k', never)
    scene.sessions[0]!.end()
    expect([scene.closed, scene.revoked, scene.views.at(scene.peer)]).to.deep.equal([1, 1, undefined])
    await opened()
    await scene.views.at(scene.peer)!('k', never)
    scene.neighbour = scene.aNeighbour()
    expect(scene.views.at(scene.peer)).to.equal(undefined)
    await opened()
    await scene.views.at(scene.peer)!('k', never)
    expect([scene.asked, scene.closed]).to.deep.equal([3, 1])
    expect(scene.sessions.map(session => session.ended)).to.deep.equal([true, false, false])
  })

  it('let the event loop turn, also for who waits for nothing else', async () => {
    await opened()
    let [turns, ended] = [0, false]
    const turn = (): void => {
      turns++
      if (!ended) setImmediate(turn)
    }
    setImmediate(turn)
    try {
      for (const [afterMs, turned] of [
        [11, true],
        [9, false],
        [2, true],
      ] as const) {
        await scene.clock.advance(afterMs)
        const before = turns
        for (let i = 0; i < 200; i++) await scene.views.at(scene.peer)!('k', never)
        expect(turns > before).to.equal(turned)
      }
    } finally {
      ended = true
    }
  })
})
