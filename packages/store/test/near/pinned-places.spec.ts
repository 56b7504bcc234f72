import { expect } from 'chai'
import type { Exposure, Region, RemoteView, Slice, Transport } from '@mooncake-ts/core'
import { lru } from '../../dist/policies/index.js'
import { PlaceReader, type Place } from '../../dist/near/place-table.js'
import { PIN_TABLE_BYTES, PinTable } from '../../dist/near/pin-table.js'
import { Places } from '../../dist/near/places.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Harness, settled } from '../local/support/harness.js'
import { POISON } from '../local/support/tiers.js'

const LEASE_MS = 5000
const CAPACITY_BYTES = 1000
const never = new AbortController().signal
const windowOf = (scheme: string) => ({ windows: [{ scheme, endpoint: 'e', key: new Uint8Array(1) }] })

/** An owner of objects, and a neighbour that looks at them. */
class Scene implements AsyncDisposable {
  readonly pinned: RemoteView & { valid: boolean } = { bytes: new Uint8Array(PIN_TABLE_BYTES), valid: true }
  readonly pins = new PinTable(this.pinned.bytes)
  readonly harness: Harness
  readonly places: Places
  onRevoke = (): void => {}
  #table: PlaceReader | undefined

  constructor(keyLeaseMs = LEASE_MS) {
    this.harness = Harness.dram(CAPACITY_BYTES, {
      evictionPolicy: lru(),
      events: {
        committed: ({ key, generation }) => {
          this.places.publish(key, generation)
        },
        copied: () => {},
        removed: ({ key, generation }) => {
          this.places.withdraw(key, generation)
        },
        isViewed: (meta, holding, onLeft) => this.places.isViewed(meta, holding, onLeft),
      },
    })
    const transport = {
      scheme: 'showing',
      reaches: () => true,
      view: async () => await Promise.resolve(this.pinned),
      expose: (region: Region): Exposure => {
        this.#table ??= new PlaceReader(region.view(0, region.byteLength)) // It is the first.
        const revoke = async (): Promise<void> => {
          this.onRevoke()
          await Promise.resolve()
        }
        return { window: windowOf('showing').windows[0]!, revoke }
      },
    } as unknown as Transport
    const { backend, memory, clock } = this.harness
    const unannounced = new Unannounced()
    const transports = [transport]
    this.places = new Places({
      backend,
      memory,
      clock,
      unannounced,
      transports,
      placesMax: 64,
      keyLeaseMs,
    })
    this.places.open(true)
  }

  static async start(): Promise<Scene> {
    const scene = new Scene()
    expect(await scene.places.openPins(windowOf('showing'), never)).to.equal(LEASE_MS)
    return scene
  }

  find(key: string): Place | undefined {
    return this.#table!.find(key)
  }

  /** An object of 100 bytes that the neighbour looks at. */
  async view(key: string): Promise<{ readonly epoch: number; readonly slice: Slice }> {
    await this.harness.put(key, 100, { content: 7 })
    const slice = this.harness.backend.holdingOf(key, 1)!.slice!
    const { epoch } = this.find(key)!
    this.pins.add(epoch)
    return { epoch, slice }
  }

  async advance(ms: number): Promise<void> {
    await this.harness.clock.advance(ms)
    await settled()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.places.close()
    await this.harness[Symbol.asyncDispose]()
  }
}

const isAll = ({ region, offset, byteLength }: Slice, content: number): boolean =>
  Buffer.from(region.view(offset, byteLength)).equals(Buffer.alloc(byteLength, content))

describe('Places, of objects that neighbours look at', () => {
  const ways: Record<string, (scene: Scene) => Promise<void>> = {
    removed: async ({ harness }) => {
      await Promise.resolve(harness.backend.remove('k'))
    },
    replaced: async ({ harness }) => {
      await harness.put('k', 100, { mode: 'upsert', generation: 2, content: 8 })
    },
    'removed after its place was published again': async ({ harness, places }) => {
      places.publish('k', 1)
      await Promise.resolve(harness.backend.remove('k'))
    },
    'removed after others wanted its place': async scene => {
      const { harness } = scene
      const { epoch } = scene.find('k')!
      for (let i = 0; i < 300; i++) await harness.put(`other-${i}`, 1)
      expect(scene.find('k')!.epoch).to.equal(epoch)
      harness.backend.remove('k')
    },
  }
  for (const [way, goes] of Object.entries(ways)) {
    it(`keep one that is ${way}, until nobody does`, async () => {
      await using scene = await Scene.start()
      const { epoch, slice } = await scene.view('k')
      await goes(scene)
      await scene.advance(500)
      expect(isAll(slice, 7)).to.equal(true)
      scene.pins.delete(epoch)
      await scene.advance(20)
      expect(isAll(slice, POISON)).to.equal(true)
    })
  }

  it('give back what nobody looks at, at once', async () => {
    await using scene = await Scene.start()
    const { epoch, slice } = await scene.view('k')
    await scene.harness.put('l', 100)
    const other = scene.harness.backend.holdingOf('l', 1)!.slice!
    scene.harness.backend.remove('l')
    expect([isAll(other, POISON), isAll(slice, 7)]).to.deep.equal([true, true])
    scene.pins.delete(epoch)
    scene.harness.backend.remove('k')
    expect(isAll(slice, POISON)).to.equal(true)
  })

  it('evict others first, and wait when there are none', async () => {
    await using scene = await Scene.start()
    const { harness, pins } = scene
    const epochs: number[] = []
    for (let i = 0; i < 5; i++) epochs.push((await scene.view(`viewed-${i}`)).epoch)
    for (let i = 0; i < 5; i++) await harness.put(`other-${i}`, 100)
    await harness.put('large', 500)
    pins.add(scene.find('large')!.epoch)
    const left = () => [...harness.backend.entries()].map(({ meta }) => meta.key).sort()
    const viewed = Array.from({ length: 5 }, (_, i) => `viewed-${i}`)
    expect(left()).to.deep.equal(['large', ...viewed])
    const space = harness.wait(100, 10_000)
    await scene.advance(500)
    expect(left()).to.have.length(6)
    pins.delete(epochs[3]!)
    await scene.advance(20)
    ;(await space).abandon()
    expect(left()).to.deep.equal(['large', 'viewed-0', 'viewed-1', 'viewed-2', 'viewed-4'])
  })

  it('take back what a neighbour looked at that is silent, or gone', async () => {
    for (const how of ['silent', 'gone'] as const) {
      await using scene = await Scene.start()
      const { slice } = await scene.view('k')
      scene.harness.backend.remove('k')
      await scene.advance(LEASE_MS - 20)
      expect(isAll(slice, 7), how).to.equal(true)
      if (how === 'gone') scene.pinned.valid = false
      else await scene.advance(20)
      await scene.advance(20)
      expect(isAll(slice, POISON), how).to.equal(true)
    }
  })

  it('take back all when they close, after neighbours can see that', async () => {
    await using scene = await Scene.start()
    const { slice } = await scene.view('k')
    scene.harness.backend.remove('k')
    const keptAtRevoke: boolean[] = []
    scene.onRevoke = () => keptAtRevoke.push(isAll(slice, 7))
    scene.places.close()
    expect(keptAtRevoke).to.deep.equal([true, true]) // The table, and what objects lie in.
    expect(isAll(slice, POISON)).to.equal(true)
  })

  it('take no pins where leases are short, or where they cannot see them', async () => {
    await using hasty = new Scene(999)
    expect(await hasty.places.openPins(windowOf('showing'), never)).to.equal(undefined)
    await using scene = new Scene()
    expect(await scene.places.openPins(windowOf('other'), never)).to.equal(undefined)
    scene.places.close()
    expect(await scene.places.openPins(windowOf('showing'), never)).to.equal(undefined)
  })
})
