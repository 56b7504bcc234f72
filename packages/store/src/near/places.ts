import type { Clock, Exposure, MemoryProvider, Region, Slice, Transport } from '@mooncake-ts/core'
import type { ObjectMeta, TieredBackend } from '../local/tiered-backend.js'
import type { OpenPlaces, WireRegion } from '../peers/protocol.js'
import type { Unannounced } from '../peers/unannounced.js'
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
}

/** Memory that neighbours can map. */
interface Shown {
  readonly region: Region
  readonly window: WireRegion
}

/** What exists from the first neighbour on. */
interface Opened extends Shown {
  readonly table: PlaceTable
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

  /** Of an object that the directory knows of, wherever it lies. */
  publish(key: string, generation: number): void {
    if (this.#opened == null) return
    const { backend } = this.#init
    const slice = backend.sliceOf(key, generation)
    if (slice == null) return
    try {
      this.#publish(this.#opened.table, backend.peek(key)!, slice)
    } catch {
      this.close() // A transport or a Region is stopping: neighbours ask in the ordinary way.
    }
  }

  /** Before its memory is anything else. */
  withdraw(key: string, generation: number): void {
    this.#opened?.table.withdraw(key, generation)
  }

  close(): void {
    this.#closed = true
    this.#opened?.beat[Symbol.dispose]()
    this.#opened?.table.withdrawAll()
    for (const exposure of this.#exposures.splice(0)) void exposure.revoke() // Its rest is of no matter: nobody writes.
    for (const shown of [this.#opened, this.#sample]) shown?.region.close()
    this.#opened = undefined
  }

  #create(): Opened {
    const { clock, placesMax } = this.#init
    const shown = this.#show(placeTableBytes(slotsFor(placesMax)))
    const table = new PlaceTable(shown.region.view(0, shown.region.byteLength))
    const beat = clock.every(BEAT_MS, () => {
      table.beatOnce()
    })
    return { ...shown, table, beat }
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

  #publish(table: PlaceTable, meta: ObjectMeta, { region, offset }: Slice): void {
    let known = this.#regions.get(region)
    if (known == null) {
      known = { number: this.#regions.size, window: this.#expose(region) }
      this.#regions.set(region, known)
    }
    table.publish(meta, known.number, offset)
  }

  #expose(region: Region): WireRegion {
    const whole = { offset: 0, byteLength: region.byteLength, access: 'read' } as const
    const exposures = this.#transports.map(transport => transport.expose(region, whole))
    this.#exposures.push(...exposures)
    return { windows: exposures.map(({ window }) => window) }
  }
}
