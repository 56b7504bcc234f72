import type { Clock, RemoteView } from '@mooncake-ts/core'
import { PinReader } from './pin-table.js'

/** Processes that have pins here. Others ask for each view. */
const TABLES_MAX = 256
/** How long the space of an object that is gone waits after its last pin. */
const LOOK_MS = 20
/** Of one turn of the event loop: about a millisecond, mostly of misses of the cache. */
const LOOK_UPS_PER_TURN = 1024

/** Pins of one neighbour. */
interface Watched {
  readonly view: RemoteView
  readonly pins: PinReader
  beat: number
  /** When the beat was seen first. */
  seenMs: number
}

/** An object that would be gone, were it not for a pin. */
interface Kept {
  readonly epoch: number
  readonly letGo: () => void
}

/**
 * What neighbours look at without having asked: their tables of pins. One whose beat does not change any more, or that
 * is not exposed any more, counts no longer, for good.
 */
export class PinWatch {
  readonly #clock: Clock
  readonly #leaseMs: number
  #tables: Watched[] = []
  readonly #kept = new Set<Kept>()
  #looking: Disposable | undefined

  /** @param leaseMs for how long the pins of a neighbour count after a beat */
  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  /** False where there are too many. */
  add(view: RemoteView): boolean {
    this.#forget()
    if (this.#tables.length >= TABLES_MAX) return false
    const pins = new PinReader(view.bytes)
    this.#tables.push({ view, pins, beat: pins.beat, seenMs: this.#clock.nowMs() })
    return true
  }

  get isWatching(): boolean {
    return this.#tables.length > 0
  }

  /** Of a place that is emptied already, this is final: nobody can pin it any more. */
  isPinned(epoch: number): boolean {
    return this.#tables.some(({ pins }) => pins.has(epoch))
  }

  /** Soon after nobody pins it any more. */
  whenUnpinned(epoch: number, letGo: () => void): void {
    this.#kept.add({ epoch, letGo })
    this.#looking ??= this.#clock.every(LOOK_MS, () => {
      this.look()
    })
  }

  /** To be called from time to time. */
  look(): void {
    this.#forget()
    const objects = Math.ceil(LOOK_UPS_PER_TURN / Math.max(1, this.#tables.length))
    let left = Math.min(this.#kept.size, objects)
    for (const kept of this.#kept) {
      if (left-- === 0) break
      this.#kept.delete(kept)
      if (this.isPinned(kept.epoch))
        this.#kept.add(kept) // Behind all others.
      else kept.letGo()
    }
    if (this.#kept.size > 0) return
    this.#looking?.[Symbol.dispose]()
    this.#looking = undefined
  }

  /** No pin counts any more. */
  close(): void {
    this.#tables = []
    while (this.#kept.size > 0) this.look()
  }

  #forget(): void {
    if (this.#tables.length === 0) return
    const nowMs = this.#clock.nowMs()
    this.#tables = this.#tables.filter(table => {
      const { beat } = table.pins
      if (beat !== table.beat) {
        table.beat = beat
        // After the beat was read: this process, too, may stand still, and a beat must not seem older than it is.
        table.seenMs = this.#clock.nowMs()
      }
      return table.view.valid && nowMs - table.seenMs < this.#leaseMs
    })
  }
}
