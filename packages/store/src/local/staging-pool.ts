import { MIB, MooncakeError, type MemoryProvider, type Region, type Slice } from '@mooncake-ts/core'
import { FreeRanges } from './free-ranges.js'
import { InUse } from './in-use.js'
import { whenAborted } from './when-aborted.js'

/** Direct I/O wants its buffers so. */
const ALIGNMENT_BYTES = 4096

/** A borrowed piece of memory. `release` may be passed on by itself, and does nothing the second time. */
export interface StagingSlice extends Disposable {
  readonly slice: Slice
  readonly release: () => void
}

interface Waiting {
  readonly byteLength: number
  admit(slice: StagingSlice): void
  fail(error: unknown): void
}

/**
 * Memory to pass through, for bytes between a peer or a caller's odd buffer and a tier without addresses.
 * First in, first out.
 *
 * A request larger than the whole pool gets a Region of its own for the time, one such at a time: the pool
 * never holds more than its capacity and one large object. Memory is made when it is first needed.
 */
export class StagingPool {
  readonly #memory: MemoryProvider
  readonly #capacityBytes: number
  readonly #waitingMax: number
  readonly #waiting = new Set<Waiting>()
  readonly #inUse = new InUse()
  readonly #free: FreeRanges
  #region: Region | undefined
  #largeInUse = false
  #closing: Promise<void> | undefined

  /**
   * @param capacityBytes rounded up to whole blocks of 4 KiB
   * @param waitingMax requests that may wait; more are refused
   * @throws ERR_INVALID_PARAMS
   */
  constructor(memory: MemoryProvider, capacityBytes = 64 * MIB, waitingMax = 65_536) {
    if (!Number.isSafeInteger(capacityBytes) || capacityBytes <= 0) {
      throw new MooncakeError('ERR_INVALID_PARAMS', 'capacityBytes must be a positive whole number')
    }
    this.#memory = memory
    this.#capacityBytes = roundUp(capacityBytes)
    this.#waitingMax = waitingMax
    this.#free = new FreeRanges(this.#capacityBytes)
  }

  get capacityBytes(): number {
    return this.#capacityBytes
  }

  /** Requests that wait for memory. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** At once or not at all; undefined also when others wait. @throws ERR_OUT_OF_MEMORY, ERR_SHUTTING_DOWN */
  tryAcquire(byteLength: number): StagingSlice | undefined {
    if (this.#closing != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
    return this.#waiting.size > 0 ? undefined : this.#take(byteLength)
  }

  /** @throws ERR_OVERLOADED, ERR_OUT_OF_MEMORY, ERR_SHUTTING_DOWN, the signal's reason */
  async acquire(byteLength: number, signal: AbortSignal): Promise<StagingSlice> {
    signal.throwIfAborted()
    const now = this.tryAcquire(byteLength)
    if (now != null) return now
    if (this.#waiting.size >= this.#waitingMax) {
      throw new MooncakeError(
        'ERR_OVERLOADED',
        `More than ${this.#waitingMax} transfers wait for staging memory`,
      )
    }
    return await this.#wait(byteLength, signal)
  }

  /** Refuses those who wait, and settles when everything has come back. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const waiting of [...this.#waiting]) waiting.fail(new MooncakeError('ERR_SHUTTING_DOWN'))
    await this.#inUse.idle()
    this.#region?.close()
  }

  #wait(byteLength: number, signal: AbortSignal): Promise<StagingSlice> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiting)
        forgetSignal()
      }
      const waiting: Waiting = {
        byteLength,
        admit: slice => {
          leave()
          resolve(slice)
        },
        fail: error => {
          leave()
          reject(error)
        },
      }
      const forgetSignal = whenAborted(signal, () => {
        waiting.fail(signal.reason)
        this.#pump() // The one behind may fit where this one did not.
      })
      this.#waiting.add(waiting)
    })
  }

  #pump(): void {
    for (const waiting of this.#waiting) {
      try {
        const slice = this.#take(waiting.byteLength)
        if (slice == null) return
        waiting.admit(slice)
      } catch (error) {
        waiting.fail(error)
      }
    }
  }

  #take(byteLength: number): StagingSlice | undefined {
    if (byteLength > this.#capacityBytes) return this.#takeLarge(byteLength)
    this.#region ??= this.#memory.createRegion({ byteLength: this.#capacityBytes, label: 'staging' })
    if (byteLength === 0) return this.#lend({ region: this.#region, offset: 0, byteLength }, () => {})
    const blockBytes = roundUp(byteLength)
    const offset = this.#free.take(blockBytes)
    if (offset == null) return undefined
    return this.#lend({ region: this.#region, offset, byteLength }, () => {
      this.#free.giveBack(offset, blockBytes)
    })
  }

  #takeLarge(byteLength: number): StagingSlice | undefined {
    if (this.#largeInUse) return undefined
    const region = this.#memory.createRegion({ byteLength, label: 'staging-large' })
    this.#largeInUse = true
    return this.#lend({ region, offset: 0, byteLength }, () => {
      this.#largeInUse = false
      region.close()
    })
  }

  #lend(slice: Slice, giveBack: () => void): StagingSlice {
    let open = true
    const release = (): void => {
      if (!open) return
      open = false
      giveBack()
      this.#pump()
      this.#inUse.leave()
    }
    this.#inUse.enter()
    return { slice, release, [Symbol.dispose]: release }
  }
}

function roundUp(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
}
