import { MooncakeError, type Clock } from '@mooncake-ts/core'
import type { Reservation } from './reservation.js'
import type { TierSpace } from './tier-space.js'
import { whenAborted } from './when-aborted.js'

export interface WaitOptions {
  /** From now. */
  readonly deadlineMs: number
  readonly signal: AbortSignal
}

/** A request for space that found none. */
export interface WaitingReservation {
  readonly byteLength: number
  /** Tiers that will do, fastest first. */
  readonly spaces: readonly TierSpace[]
  admit(reservation: Reservation): void
}

interface Entry extends WaitingReservation {
  fail(error: unknown): void
}

/**
 * Who waits for space, first in first out. Each leaves by being admitted, by its deadline or by its signal,
 * whichever is first.
 */
export class WaitingReservations implements Iterable<WaitingReservation> {
  /** A Set is a queue that forgets in constant time. */
  readonly #entries = new Set<Entry>()
  readonly #clock: Clock
  readonly #onWaited: (waitMs: number) => void
  readonly #onGaveUp: () => void

  /**
   * @param events.onWaited how long one of them waited, whatever came of it
   * @param events.onGaveUp one left without space: whoever is behind it may fit where it did not
   */
  constructor(clock: Clock, events: { onWaited: (waitMs: number) => void; onGaveUp: () => void }) {
    this.#clock = clock
    this.#onWaited = events.onWaited
    this.#onGaveUp = events.onGaveUp
  }

  get size(): number {
    return this.#entries.size
  }

  [Symbol.iterator](): Iterator<WaitingReservation> {
    return this.#entries.values()
  }

  /** @throws ERR_NO_AVAILABLE_HANDLE at the deadline, the signal's reason */
  add(
    byteLength: number,
    spaces: readonly TierSpace[],
    { deadlineMs, signal }: WaitOptions,
  ): Promise<Reservation> {
    const sinceMs = this.#clock.nowMs()
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#entries.delete(entry)
        for (const space of spaces) space.waitingCount--
        timer[Symbol.dispose]()
        forgetSignal()
        this.#onWaited(this.#clock.nowMs() - sinceMs)
      }
      const entry: Entry = {
        byteLength,
        spaces,
        admit: reservation => {
          leave()
          resolve(reservation)
        },
        fail: error => {
          leave()
          reject(error)
          this.#onGaveUp()
        },
      }
      const forgetSignal = whenAborted(signal, () => {
        entry.fail(signal.reason)
      })
      const timer = this.#clock.after(deadlineMs, () => {
        entry.fail(noSpace(byteLength, spaces, `after waiting ${deadlineMs} ms`))
      })
      for (const space of spaces) space.waitingCount++
      this.#entries.add(entry)
    })
  }

  failAll(error: unknown): void {
    for (const entry of [...this.#entries]) entry.fail(error)
  }
}

/** Says what was asked for, and how full the places are. */
export function noSpace(byteLength: number, spaces: readonly TierSpace[], when: string): MooncakeError {
  const places = spaces.map(({ tier }) => `${tier.name} uses ${tier.usedBytes} of ${tier.capacityBytes} B`)
  const where = places.length > 0 ? places.join(', ') : 'this node has no tier for it'
  return new MooncakeError('ERR_NO_AVAILABLE_HANDLE', `No space for ${byteLength} B ${when}: ${where}`)
}
