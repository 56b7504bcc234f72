import { hasCode, scrub } from '@mooncake-ts/core'
import type { RemoteView, RemoteWindow, Slice, Transport, TransferOp } from '@mooncake-ts/core'
import type { ReadOutcome, ReadTask } from '../engine/peer-reads.js'
import { executeBatch } from '../transfer/execute-batch.js'
import { subSlice } from '../transfer/slices.js'
import type { PinSession } from './pin-session.js'
import type { Place, PlaceReader } from './place-table.js'

/** Of the memory, and not of what was asked of it here. */
const FAULTS = ['ERR_TRANSFER_FAIL', 'ERR_ACCESS_DENIED'] as const

/** Memory of a neighbour, and the transport that has mapped it. */
export interface NeighbourMemory {
  readonly transport: Transport
  /** Of the table. */
  readonly view: RemoteView
  readonly table: PlaceReader
  /** By the numbers in the table. */
  readonly windows: readonly RemoteWindow[]
}

/** An object of a neighbour where it lies, kept there until `release`. */
export interface NearView {
  readonly bytes: Uint8Array
  readonly isValid: () => boolean
  /** To be called once. */
  readonly release: () => void
}

interface Found {
  readonly position: number
  readonly place: Place
  readonly into: Slice
}

/** A node whose objects this process copies without asking. */
export class Neighbour {
  readonly #memory: NeighbourMemory
  #beat: number
  /** The beat that was seen last is not older than the look before. */
  #lookedMs: number
  #believedUntilMs: number
  readonly #believedMs: number
  #uses: string[] = []
  /** It cannot be read any more in this way, or not all of it. */
  #outdated = false

  /**
   * @param aliveMs when it had not yet answered
   * @param believedMs for how long after a beat its table is believed
   */
  constructor(memory: NeighbourMemory, aliveMs: number, believedMs: number) {
    this.#memory = memory
    this.#beat = memory.table.beat
    this.#lookedMs = aliveMs
    this.#believedMs = believedMs
    this.#believedUntilMs = aliveMs + believedMs
  }

  /** To be opened anew. */
  get outdated(): boolean {
    return this.#outdated || !this.#memory.view.valid
  }

  /**
   * Its event loop turned lately. One that does not, does not hear either that an object was removed, and may count
   * as dead elsewhere.
   */
  isAlive(nowMs: number): boolean {
    return nowMs < this.#believedUntilMs
  }

  /**
   * To be called from time to time. This process, too, may have stood still: a new beat says that the owner's event loop
   * has turned since the look before, and not that it still does.
   */
  look(nowMs: number): void {
    const { beat } = this.#memory.table
    if (beat !== this.#beat) this.#believedUntilMs = this.#lookedMs + this.#believedMs
    this.#beat = beat
    this.#lookedMs = nowMs
  }

  /** Keys that were read since the last time. */
  takeUses(): string[] {
    const uses = this.#uses
    this.#uses = []
    return uses
  }

  get useCount(): number {
    return this.#uses.length
  }

  /**
   * One outcome per task, at rest; none where the owner has to be asked. Undefined where that is so for all.
   * @throws the signal's reason
   */
  async read(
    tasks: readonly ReadTask[],
    signal: AbortSignal,
  ): Promise<Array<ReadOutcome | undefined> | undefined> {
    const { table, transport, windows } = this.#memory
    const found = this.#find(tasks)
    if (found.length === 0) return undefined
    const ops = found.map(({ place: { region, offset, byteLength }, into }): TransferOp => {
      return { kind: 'read', local: into, remote: { window: windows[region]!, offset, byteLength } }
    })
    // Filled, because iterations leave holes out.
    const outcomes = new Array<ReadOutcome | undefined>(tasks.length).fill(undefined)
    const scrubs: Promise<void>[] = []
    await executeBatch(transport, ops, signal, ({ index, error }) => {
      const { position, place, into } = found[index]!
      if (error != null) this.#outdated ||= FAULTS.some(code => hasCode(error, code))
      else if (!table.holds(place)) {
        // It may be another object by now.
        scrubs.push(
          new Promise(resolve => {
            scrub(into, resolve)
          }),
        )
      } else {
        const { byteLength, checksum } = place
        outcomes[position] = checksum == null ? { byteLength } : { byteLength, checksum }
        this.#uses.push(tasks[position]!.key)
      }
    })
    await Promise.all(scrubs)
    signal.throwIfAborted()
    return outcomes
  }

  /** Shares the memory of its table. */
  get transport(): Transport {
    return this.#memory.transport
  }

  /** Undefined where the owner has to be asked. Never rejects. */
  async view(key: string, session: PinSession, signal: AbortSignal): Promise<NearView | undefined> {
    const { table, transport, windows } = this.#memory
    const place = table.find(key)
    const window = place == null ? undefined : windows[place.region]
    if (place == null || window == null) {
      this.#outdated ||= place != null // It has memory that we have not heard of.
      return undefined
    }
    const pin = session.pin(table, place)
    if (pin == null) return undefined
    const { release } = pin
    try {
      const { offset, byteLength } = place
      const shown = await transport.view!({ window, offset, byteLength }, { signal })
      const isValid = (): boolean => shown.valid && pin.isKept()
      if (isValid()) {
        this.#uses.push(key)
        return { bytes: shown.bytes, isValid, release }
      }
    } catch (error) {
      this.#outdated ||= FAULTS.some(code => hasCode(error, code))
    }
    release()
    return undefined
  }

  /** What does not fit is for the owner to refuse. */
  #find(tasks: readonly ReadTask[]): Found[] {
    const { table, windows } = this.#memory
    const found: Found[] = []
    tasks.forEach(({ key, target }, position) => {
      const place = table.find(key)
      if (place == null || place.byteLength > target.byteLength) return
      if (place.region < windows.length)
        found.push({ position, place, into: subSlice(target, 0, place.byteLength) })
      else this.#outdated = true // It has memory that we have not heard of.
    })
    return found
  }
}
