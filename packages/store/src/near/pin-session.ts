import type { Clock } from '@mooncake-ts/core'
import type { PinTable } from './pin-table.js'
import type { Place, PlaceReader } from './place-table.js'

const BEAT_MS_MAX = 1000
const BEATS_PER_LEASE = 5
/** By which this process gives its pins up before the owner does. */
const MARGIN_BEATS = 2
/** A session without pins ends after this. */
const UNUSED_MS_MAX = 60_000

/** Keeps one place as it is. */
export interface PlacePin {
  /** Whether what was read by now is what was pinned. False for good once it is false. */
  readonly isKept: () => boolean
  /** To be called once. */
  readonly release: () => void
}

/**
 * The pins of this process at one owner, who believes them for a lease after it has seen a new beat. An owner sees a
 * beat after it was made, so its lease ends later than one that is counted from the beat: by then this process, whose
 * clock runs alike, has given up all pins by itself, and never takes them back.
 */
export class PinSession {
  readonly #clock: Clock
  readonly #table: PinTable
  readonly #keptMs: number
  readonly #intervalMs: number
  readonly #beating: Disposable
  readonly #onEnd: () => void
  /** How often each epoch is pinned. */
  readonly #counts = new Map<number, number>()
  /** Not later than the last beat. */
  #beatMs: number
  #usedMs: number
  #ended = false

  /**
   * @param leaseMs of the owner, from when it sees a beat
   * @param sinceMs when the owner had not yet seen the table
   * @param onEnd it pins nothing any more
   */
  constructor(clock: Clock, table: PinTable, leaseMs: number, sinceMs: number, onEnd: () => void) {
    this.#clock = clock
    this.#table = table
    this.#onEnd = onEnd
    this.#beatMs = sinceMs
    this.#usedMs = sinceMs
    this.#intervalMs = Math.min(BEAT_MS_MAX, leaseMs / BEATS_PER_LEASE)
    this.#keptMs = leaseMs - MARGIN_BEATS * this.#intervalMs
    this.#beating = clock.every(this.#intervalMs, () => {
      this.#beat()
    })
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Undefined where the owner has to be asked. */
  pin(places: PlaceReader, place: Place): PlacePin | undefined {
    const nowMs = this.#clock.nowMs()
    this.#usedMs = nowMs
    // Who opens one view after the other may keep timers waiting.
    if (nowMs - this.#beatMs >= this.#intervalMs) this.#beat()
    if (this.#ended) return undefined
    const { epoch } = place
    const count = this.#counts.get(epoch) ?? 0
    if (count === 0 && !this.#table.add(epoch)) return undefined
    this.#counts.set(epoch, count + 1)
    const isKept = (): boolean => this.#isKept(this.#clock.nowMs())
    const release = (): void => {
      this.#release(epoch)
    }
    if (places.holds(place) && isKept()) return { isKept, release }
    release()
    return undefined
  }

  /** Gives up all pins. Idempotent. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#beating[Symbol.dispose]()
    this.#onEnd()
  }

  #isKept(nowMs: number): boolean {
    return !this.#ended && nowMs - this.#beatMs < this.#keptMs
  }

  #beat(): void {
    const nowMs = this.#clock.nowMs()
    if (this.#counts.size > 0) this.#usedMs = nowMs
    // It has ended; this process has stood still, and the owner may have given the memory away; or nobody wants it.
    if (!this.#isKept(nowMs) || nowMs - this.#usedMs > UNUSED_MS_MAX) {
      this.end()
      return
    }
    this.#beatMs = nowMs // Before the beat: this process may stand still in between.
    this.#table.beatOnce()
  }

  #release(epoch: number): void {
    const count = this.#counts.get(epoch)! - 1
    if (count > 0) {
      this.#counts.set(epoch, count)
      return
    }
    this.#counts.delete(epoch)
    this.#table.delete(epoch)
  }
}
