import {
  formatBytes,
  hasCode,
  isInside,
  MooncakeError,
  runBatch,
  type Allocator,
  type Clock,
  type CompletionStream,
  type Logger,
  type MemoryProvider,
  type Region,
  type Slice,
  type Startable,
  type Tier,
  type TierAllocation,
  type TierReadOp,
  type TierSupports,
  type TierWriteOp,
} from '@mooncake-ts/core'
import { Prefaulting } from './prefaulting.js'

export interface DramTierInit {
  readonly name: string
  readonly priority: number
  readonly tags: readonly string[]
  /** Size of the Region; the allocator may use a little less. */
  readonly capacityBytes: number
  readonly allocator: Allocator
  /** Take all pages from the system at start. */
  readonly prefault: boolean
}

export interface DramTierNeeds {
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Copies at a time within one batch. The pool has its own limit; this one keeps a batch from filling it
 * alone.
 */
const COPIES_MAX = 64

/** One Region, and an allocator that says which piece of it is whose. */
export class DramTier implements Tier, Startable {
  readonly kind = 'DRAM'
  readonly supports: TierSupports = Object.freeze({
    directMemory: true,
    persistence: false,
    partialRead: true,
  })
  readonly name: string
  readonly priority: number
  readonly tags: readonly string[]
  readonly #regionBytes: number
  readonly #allocator: Allocator
  readonly #memory: MemoryProvider
  readonly #prefaulting: Prefaulting | undefined
  readonly #copying = new Set<Promise<void>>()
  #region: Region | undefined
  #emptyId = 0
  #stopping = false

  constructor(init: DramTierInit, { memory, clock, logger }: DramTierNeeds) {
    this.name = init.name
    this.priority = init.priority
    this.tags = init.tags
    this.#regionBytes = init.capacityBytes
    this.#allocator = init.allocator
    this.#memory = memory
    if (init.prefault) this.#prefaulting = new Prefaulting(clock, logger.child({ tier: init.name }))
  }

  get capacityBytes(): number {
    return this.#allocator.capacityBytes
  }

  get usedBytes(): number {
    return this.#allocator.usedBytes
  }

  /** @throws ERR_OUT_OF_MEMORY */
  async start(signal: AbortSignal): Promise<void> {
    try {
      this.#region = this.#memory.createRegion({ byteLength: this.#regionBytes, label: this.name })
      await this.#prefaulting?.begin(this.#region, signal)
    } catch (cause) {
      if (!hasCode(cause, 'ERR_OUT_OF_MEMORY')) throw cause
      const reason = (cause as Error).message
      const message = `${this.name} could not get its ${formatBytes(this.#regionBytes)} of memory: ${reason}`
      throw new MooncakeError('ERR_OUT_OF_MEMORY', message, { cause })
    }
  }

  /**
   * Waits for copies that run, then gives the memory up. What transports have in flight keeps it alive a
   * little longer.
   */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.allSettled(this.#copying)
    this.#region?.close()
    await this.#prefaulting?.ended
  }

  /** Undefined also while the tier does not run: it has no room then. */
  allocate(byteLength: number): TierAllocation | undefined {
    const region = this.#region
    if (region == null || this.#stopping) return undefined
    // Nothing to place and nothing to free: the allocator, whose ids are not negative, is not asked.
    if (byteLength === 0) return { id: --this.#emptyId, byteLength, slice: { region, offset: 0, byteLength } }
    const piece = this.#allocator.allocate(byteLength)
    if (piece == null) return undefined
    return { id: piece.id, byteLength, slice: { region, offset: piece.offset, byteLength } }
  }

  /** @throws ERR_INVALID_PARAMS for an allocation that is not held */
  free({ id, byteLength, slice }: TierAllocation): void {
    if (byteLength > 0) this.#allocator.free({ id, offset: slice!.offset, byteLength })
  }

  write(batch: readonly TierWriteOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return runBatch(batch, { signal, concurrencyMax: COPIES_MAX }, ({ allocation, from }) =>
      this.#copy(from, this.#part(allocation, 0, from.byteLength)),
    )
  }

  read(batch: readonly TierReadOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return runBatch(batch, { signal, concurrencyMax: COPIES_MAX }, ({ allocation, offset, into }) =>
      this.#copy(this.#part(allocation, offset, into.byteLength), into),
    )
  }

  /** @throws ERR_INVALID_PARAMS */
  #part({ slice, byteLength: wholeBytes }: TierAllocation, offset: number, byteLength: number): Slice {
    if (slice != null && isInside(offset, byteLength, wholeBytes)) {
      return { region: slice.region, offset: slice.offset + offset, byteLength }
    }
    const range = `${byteLength} bytes from ${offset}`
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `${this.name}: ${range} are not inside an object of ${wholeBytes}`,
    )
  }

  async #copy(from: Slice, to: Slice): Promise<number> {
    if (this.#stopping) throw new MooncakeError('ERR_SHUTTING_DOWN', `${this.name} is stopping`)
    const copying = this.#memory.copyPool.copy([{ from, to }])
    this.#copying.add(copying)
    try {
      await copying
      return to.byteLength
    } finally {
      this.#copying.delete(copying)
    }
  }
}
