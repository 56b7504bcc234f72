import { OffsetAllocator, type MemoryProvider, type Region, type Slice } from '@mooncake-ts/core'
import type { Registration, Registrations } from './registrations.js'

const ALIGNMENT_BYTES = 4096

/** A borrowed piece of the staging memory. */
export interface StagedSlice extends Disposable {
  readonly slice: Slice
  /** Of the whole staging memory. */
  readonly registration: Registration
}

interface Waiting {
  readonly byteLength: number
  readonly onRoom: (staged: StagedSlice) => void
}

interface Made {
  readonly region: Region
  readonly registration: Registration
}

/**
 * A bounded piece of memory that devices know, through which callers' small buffers pass: to copy them costs less than
 * to pin them. Who finds no room waits, first come, first served. The memory is made, and pinned, at its first use.
 */
export class Staging {
  readonly #memory: MemoryProvider
  readonly #registrations: Registrations
  readonly #allocator: OffsetAllocator
  readonly #waiting = new Set<Waiting>()
  #made: Made | undefined

  /** @param capacityBytes from one page, rounded down to whole pages */
  constructor(memory: MemoryProvider, registrations: Registrations, capacityBytes: number) {
    this.#memory = memory
    this.#registrations = registrations
    this.#allocator = new OffsetAllocator({ capacityBytes, alignmentBytes: ALIGNMENT_BYTES })
  }

  /** Whether so much may pass here: not more than there is, and nothing where no device could pin it. */
  takes(byteLength: number): boolean {
    return byteLength <= this.#allocator.capacityBytes && this.#made?.registration.error == null
  }

  get usedBytes(): number {
    return this.#allocator.usedBytes
  }

  /** Who waits for room. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Makes the memory, where it is not there yet. @throws ERR_OUT_OF_MEMORY */
  prepare(): void {
    this.#made ??= this.#make()
  }

  /** Calls `onRoom` when there is room: at once, or later. What it gives stops the waiting. `prepare` comes first. */
  acquire(byteLength: number, onRoom: (staged: StagedSlice) => void): Disposable {
    const waiting: Waiting = { byteLength, onRoom }
    this.#waiting.add(waiting)
    this.#admit()
    return {
      [Symbol.dispose]: () => {
        // The one behind may fit where this one did not.
        if (this.#waiting.delete(waiting)) this.#admit()
      },
    }
  }

  /** Nothing is borrowed any more. */
  close(): void {
    if (this.#made == null) return
    this.#registrations.release(this.#made.registration)
    this.#made.region.close()
    this.#made = undefined
  }

  #make(): Made {
    const { capacityBytes: byteLength } = this.#allocator
    const region = this.#memory.createRegion({ byteLength, label: 'rdma-staging' })
    return { region, registration: this.#registrations.acquire(region, 0, byteLength) }
  }

  #admit(): void {
    for (const waiting of this.#waiting) {
      const staged = this.#take(waiting.byteLength)
      if (staged == null) return
      this.#waiting.delete(waiting)
      waiting.onRoom(staged)
    }
  }

  #take(byteLength: number): StagedSlice | undefined {
    const piece = this.#allocator.allocate(byteLength)
    if (piece == null) return undefined
    const { region, registration } = this.#made!
    return {
      slice: { region, offset: piece.offset, byteLength },
      registration,
      [Symbol.dispose]: () => {
        this.#allocator.free(piece)
        this.#admit()
      },
    }
  }
}
