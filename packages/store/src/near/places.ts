import type { Clock, Exposure, MemoryProvider, Region, Slice, Transport } from '@mooncake-ts/core'
import type { Holding } from '../local/holding.js'
import type { ObjectMeta, TieredBackend } from '../local/tiered-backend.js'
import type { OpenPlaces, WireRegion } from '../peers/protocol.js'
import type { Unannounced } from '../peers/unannounced.js'
import { windowFor } from '../transfer/window-for.js'
import { PIN_LEASE_MS_MIN, PIN_TABLE_BYTES } from './pin-table.js'
import { PinWatch } from './pin-watch.js'
import { PlaceTable, placeTableBytes, slotsFor } from './place-table.js'

/** A neighbour that has seen no beat for a few of these asks in the ordinary way. */
export const BEAT_MS = 1000
const SAMPLE_BYTES = 64
/** Then other work has its turn. */
const FILL_OBJECTS_PER_TURN = 1000

export interface PlacesInit {
  readonly backend: TieredBackend
  readonly unannounced: Unannounced
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly transports: readonly Transport[]
  readonly placesMax: number
  /** For how long the pins of a neighbour count after it has shown that it runs. */
  readonly keyLeaseMs: number
}

/** Memory that neighbours can map. */
interface Shown {
  readonly region: Region
  readonly window: WireRegion
}

/** What exists from the first neighbour on. */
interface Opened extends Shown {
  readonly table: PlaceTable
  /** By slot: what its object lies in. */
  readonly holdings: Array<Holding | undefined>
  readonly pins: PinWatch
  readonly beat: Disposable
}

/**
 * Shows neighbours where the objects of this node lie. Costs nothing before the first of them asks; then all of the
 * memory that objects lie in stays exposed for reading, which a transport that maps memory does with whole Regions
 * anyway.
 */
export class Places {
  readonly #init: PlacesInit
  /** Those that can show memory: nobody reads the table but by looking at it. */
  readonly #transports: readonly Transport[]
  readonly #exposures: Exposure[] = []
  /** Regions that objects lie in. */
  readonly #regions = new Map<Region, { readonly number: number; readonly window: WireRegion }>()
  /** By which peers see whether they are neighbours. */
  #sample: Shown | undefined
  #opened: Opened | undefined
  #closed = false

  constructor(init: PlacesInit) {
    this.#init = init
    this.#transports = init.transports.filter(transport => transport.view != null)
  }

  /** What a neighbour needs, or a peer that may be one. @throws ERR_OUT_OF_MEMORY, ERR_SHUTTING_DOWN */
  open(isNeighbour: boolean): ReturnType<typeof OpenPlaces.parseResponse> {
    if (this.#transports.length === 0 || this.#init.placesMax === 0 || this.#closed) return { regions: [] }
    if (this.#opened == null && !isNeighbour) {
      this.#sample ??= this.#show(SAMPLE_BYTES)
      return { table: this.#sample.window, regions: [] }
    }
    if (this.#opened == null) {
      this.#opened = this.#create()
      this.#fill().catch(() => {
        this.close() // A tier is stopping, or in disorder: neighbours ask in the ordinary way.
      })
    }
    const { region, window } = this.#opened
    return {
      table: window,
      tableBytes: region.byteLength,
      regions: [...this.#regions.values()].map(known => known.window),
    }
  }

  /**
   * From now on what a neighbour pins in this memory keeps its place: a `PinTable`. Gives the lease; undefined where the
   * neighbour has to ask for each view.
   * @throws what mapping it throws
   */
  async openPins(memory: WireRegion, signal: AbortSignal): Promise<number | undefined> {
    const { keyLeaseMs } = this.#init
    if (keyLeaseMs < PIN_LEASE_MS_MIN) return undefined
    for (const transport of this.#transports) {
      const window = windowFor(transport, memory)
      if (window == null) continue
      const view = await transport.view!({ window, offset: 0, byteLength: PIN_TABLE_BYTES }, { signal })
      return this.#opened?.pins.add(view) === true ? keyLeaseMs : undefined
    }
    return undefined
  }

  /** Of an object that the directory knows of, wherever it lies. */
  publish(key: string, generation: number): void {
    if (this.#opened == null) return
    const { backend } = this.#init
    const holding = backend.holdingOf(key, generation)
    if (holding?.slice == null) return
    try {
      this.#publish(this.#opened, backend.peek(key)!, holding, holding.slice)
    } catch {
      this.close() // A transport or a Region is stopping: neighbours ask in the ordinary way.
    }
  }

  /** Before its memory is anything else. */
  withdraw(key: string, generation: number): void {
    this.#opened?.table.withdraw(key, generation)
  }

  /**
   * A neighbour looks at it, so that it would free nothing if it went. Then `onLeft` is called soon after none does any
   * more.
   */
  isViewed({ key, generation }: ObjectMeta, holding: Holding, onLeft: () => void): boolean {
    if (this.#opened?.pins.isWatching !== true) return false
    const { table, holdings, pins } = this.#opened
    const slot = table.slotOf(key, generation)
    if (slot == null || holdings[slot] !== holding) return false
    const epoch = table.epochOf(slot)
    if (!pins.isPinned(epoch)) return false
    pins.whenUnpinned(epoch, onLeft)
    return true
  }

  close(): void {
    this.#closed = true
    this.#opened?.beat[Symbol.dispose]()
    this.#opened?.table.withdrawAll()
    for (const exposure of this.#exposures.splice(0)) void exposure.revoke() // Its rest is of no matter: nobody writes.
    this.#opened?.pins.close() // Now that no neighbour believes its views any more.
    for (const shown of [this.#opened, this.#sample]) shown?.region.close()
    this.#opened = undefined
  }

  #create(): Opened {
    const { clock, placesMax, keyLeaseMs } = this.#init
    const slotCount = slotsFor(placesMax)
    const shown = this.#show(placeTableBytes(slotCount))
    const holdings = new Array<Holding | undefined>(slotCount)
    const pins = new PinWatch(clock, keyLeaseMs)
    const onEmptied = (slot: number, epoch: number): void => {
      const holding = holdings[slot]!
      holdings[slot] = undefined
      if (!pins.isPinned(epoch)) return
      holding.retain()
      pins.whenUnpinned(epoch, () => holding.release())
    }
    const bytes = shown.region.view(0, shown.region.byteLength)
    const table = new PlaceTable(bytes, onEmptied, epoch => !pins.isPinned(epoch))
    const beat = clock.every(BEAT_MS, () => {
      table.beatOnce()
      pins.look()
    })
    return { ...shown, table, holdings, pins, beat }
  }

  #show(byteLength: number): Shown {
    const region = this.#init.memory.createRegion({ byteLength, label: 'places' })
    try {
      return { region, window: this.#expose(region) }
    } catch (error) {
      region.close()
      throw error
    }
  }

  /** What was here before the first neighbour. */
  async #fill(): Promise<void> {
    const { backend, unannounced } = this.#init
    let count = 0
    for (const { meta, tier } of backend.entries()) {
      if (this.#opened == null) return
      if (++count % FILL_OBJECTS_PER_TURN === 0) await new Promise(resolve => setImmediate(resolve))
      if (tier.supports.directMemory && !unannounced.has(meta.key)) this.publish(meta.key, meta.generation)
    }
  }

  #publish({ table, holdings }: Opened, meta: ObjectMeta, holding: Holding, { region, offset }: Slice): void {
    let known = this.#regions.get(region)
    if (known == null) {
      known = { number: this.#regions.size, window: this.#expose(region) }
      this.#regions.set(region, known)
    }
    const said = table.slotOf(meta.key, meta.generation)
    if (said != null && holdings[said] === holding) return // Another epoch would hide who looks at it.
    const slot = table.publish(meta, known.number, offset)
    if (slot != null) holdings[slot] = holding
  }

  #expose(region: Region): WireRegion {
    const whole = { offset: 0, byteLength: region.byteLength, access: 'read' } as const
    const exposures = this.#transports.map(transport => transport.expose(region, whole))
    this.#exposures.push(...exposures)
    return { windows: exposures.map(({ window }) => window) }
  }
}
