import { expect } from 'chai'
import {
  GenerationClock,
  MooncakeError,
  silentLogger,
  type Directory,
  type Exposure,
  type Region,
  type Transport,
} from '@mooncake-ts/core'
import { PlaceReader } from '../../dist/near/place-table.js'
import { Places } from '../../dist/near/places.js'
import { KeyLocks } from '../../dist/local/key-locks.js'
import { Committer } from '../../dist/peers/committer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { RouteNotifier } from '../../dist/routes/route-notifier.js'
import { Harness, metaOf, settled } from '../local/support/harness.js'

/** A transport that can show memory, and keeps what it was to expose. */
class ShowingTransport {
  readonly exposed: Region[] = []
  refuses = false
  readonly scheme = 'showing'
  readonly supports = { revoke: true, remote: false }

  view(): void {}

  expose(region: Region): Exposure {
    this.exposed.push(region)
    if (this.refuses) throw new MooncakeError('ERR_SHUTTING_DOWN')
    const window = { scheme: this.scheme, endpoint: 'nowhere', key: new Uint8Array(1) }
    return { window, revoke: async () => await Promise.resolve() }
  }
}

describe('Places', () => {
  function placesOf({ backend, clock, memory }: Harness, said: 'ok' | 'stale' = 'ok') {
    const transport = new ShowingTransport()
    const unannounced = new Unannounced()
    const places = new Places({
      backend,
      unannounced,
      memory,
      clock,
      transports: [transport as unknown as Transport],
      placesMax: 64,
      keyLeaseMs: 5000,
    })
    let answer!: () => void
    const asked = new Promise<void>(resolve => (answer = resolve))
    const directory = {
      syncReplicas: async (adds: readonly unknown[]) => {
        await asked
        return adds.map(() => said)
      },
    } as unknown as Directory
    const committer = new Committer({
      backend,
      unannounced,
      notifier: new RouteNotifier(directory, clock, silentLogger),
      locks: new KeyLocks(),
      generations: new GenerationClock(clock),
      nodeName: 'n',
      onKnown: (key, generation) => {
        places.publish(key, generation)
      },
    })
    const find = (key: string) => {
      const { tableBytes = 0 } = places.open(true)
      const region = transport.exposed.find(({ byteLength }) => byteLength === tableBytes)!
      return new PlaceReader(region.view(0, tableBytes)).find(key)
    }
    return { places, committer, transport, answer, find }
  }

  it('say nothing of a put that the directory has not answered, opened before it or after', async () => {
    for (const said of ['ok', 'stale'] as const) {
      await using harness = Harness.dram(1000)
      const { places, committer, answer, find } = placesOf(harness, said)
      await harness.put('before', 10)
      const first = committer.commit(harness.space(10), metaOf('first', 10), 'put')
      await settled()
      expect(find('before')).not.to.equal(undefined)
      expect(find('first')).to.equal(undefined)
      const second = committer.commit(harness.space(10), metaOf('second', 10), 'put')
      await settled()
      expect([find('first'), find('second')]).to.deep.equal([undefined, undefined])
      answer()
      await Promise.all([first, second])
      const known = ['first', 'second'].map(key => find(key) != null)
      expect(known).to.deep.equal([said === 'ok', said === 'ok'])
      places.close()
    }
  })

  it('keep no table for those who do not know that they are neighbours', async () => {
    await using harness = Harness.dram(1000)
    const { places, transport } = placesOf(harness)
    const { pending } = harness.clock
    expect(places.open(false).tableBytes).to.equal(undefined)
    expect(places.open(false).table).not.to.equal(undefined)
    expect([transport.exposed.length, harness.clock.pending]).to.deep.equal([1, pending])
    expect(places.open(true).tableBytes).to.be.above(0)
    expect(places.open(false).tableBytes).to.be.above(0)
    expect(harness.clock.pending).to.equal(pending + 1)
    places.close()
    expect(harness.clock.pending).to.equal(pending)
    expect(transport.exposed.every(({ closed }) => closed)).to.equal(true)
  })

  it('leave nothing behind where a transport refuses', async () => {
    await using harness = Harness.dram(1000)
    const { places, transport } = placesOf(harness)
    transport.refuses = true
    const { pending } = harness.clock
    expect(() => places.open(true)).to.throw()
    expect(transport.exposed.map(({ closed }) => closed)).to.deep.equal([true])
    expect(harness.clock.pending).to.equal(pending)
    places.close()
  })

  it('let others have their turn while they look at many objects, of which none is in memory', async () => {
    await using harness = Harness.dram(1000)
    const { places, find } = placesOf(harness)
    const elsewhere = { supports: { directMemory: false } }
    let given = 0
    harness.backend.entries = function* () {
      for (; given < 10_000; given++) yield { meta: metaOf(`k${given}`, 10), tier: elsewhere as never }
    }
    expect(find('k0')).to.equal(undefined)
    expect(given).to.be.below(10_000)
    places.close()
  })
})
