import { OffsetAllocator, type Allocated, type MemoryProvider, type Region } from '@mooncake-ts/core'
import type { RegionSlots } from './region-slots.js'
import { BLOCK_BYTES } from './io.js'

/** Memory that the device likes, for bytes that lie where it does not. Made when it is first needed. */
export class Staging {
  readonly #memory: MemoryProvider
  readonly #slots: RegionSlots
  readonly #allocator: OffsetAllocator
  #region: Region | undefined

  constructor(memory: MemoryProvider, slots: RegionSlots, capacityBytes: number) {
    this.#memory = memory
    this.#slots = slots
    this.#allocator = new OffsetAllocator({ capacityBytes, alignmentBytes: BLOCK_BYTES })
  }

  /** @throws ERR_OUT_OF_MEMORY */
  get region(): Region {
    this.#region ??= this.#memory.createRegion({
      byteLength: this.#allocator.capacityBytes,
      label: 'ssd-staging',
    })
    return this.#region
  }

  get slot(): number {
    return this.#slots.of(this.region).slot
  }

  /** At once or not at all. */
  tryAcquire(byteLength: number): Allocated | undefined {
    return this.#allocator.allocate(byteLength)
  }

  release(piece: Allocated): void {
    this.#allocator.free(piece)
  }

  close(): void {
    this.#region?.close()
  }
}
