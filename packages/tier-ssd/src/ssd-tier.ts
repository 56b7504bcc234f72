import { throwError } from 'rxjs'
import {
  MooncakeError,
  OffsetAllocator,
  type Clock,
  type CompletionStream,
  type Logger,
  type MemoryProvider,
  type Metrics,
  type ObjectIdentity,
  type Slice,
  type Startable,
  type Tier,
  type TierAllocation,
  type TierReadOp,
  type TierSupports,
  type TierWriteOp,
} from '@mooncake-ts/core'
import { createIoEngine, type IoEngine } from '@mooncake-ts/io-uring'
import { Checksums } from './checksums.js'
import { DataFiles, type Alignment } from './data-files.js'
import { DeviceQueue } from './device-queue.js'
import { TierDirectory } from './directory.js'
import { BLOCK_BYTES } from './io.js'
import { ObjectIndex } from './object-index.js'
import { ObjectIo } from './object-io.js'
import { ObjectRows, RowState } from './object-rows.js'
import type { SsdSettings } from './options.js'
import type { Recovered } from './recovery.js'
import { RegionSlots } from './region-slots.js'
import { Staging } from './staging.js'

export interface SsdTierNeeds {
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Objects in large files, at places that an allocator in memory gives out, and an index that says which. */
export class SsdTier implements Tier, Startable {
  readonly kind = 'STORAGE'
  readonly supports: TierSupports = Object.freeze({
    directMemory: false,
    persistence: true,
    // A checksum is of the whole object.
    partialRead: false,
  })
  readonly name: string
  readonly priority: number
  readonly tags: readonly string[]
  readonly #settings: SsdSettings
  readonly #needs: SsdTierNeeds
  readonly #logger: Logger
  readonly #rows = new ObjectRows()
  readonly #allocator: OffsetAllocator
  /** Of what is open; called in the reverse order. */
  readonly #closers: Array<() => Promise<void> | void> = []
  #io: ObjectIo | undefined
  /** Undefined while the tier does not run. */
  #index: ObjectIndex | undefined

  constructor(settings: SsdSettings, needs: SsdTierNeeds) {
    this.name = settings.name
    this.priority = settings.priority
    this.tags = settings.tags
    this.#settings = settings
    this.#needs = needs
    this.#logger = needs.logger.child({ tier: settings.name })
    this.#allocator = new OffsetAllocator({
      capacityBytes: settings.capacityBytes,
      alignmentBytes: BLOCK_BYTES,
    })
  }

  get capacityBytes(): number {
    return this.#allocator.capacityBytes
  }

  get usedBytes(): number {
    return this.#allocator.usedBytes
  }

  /** @throws ERR_DIRECTORY_IN_USE, ERR_DIRECTORY_FOREIGN, ERR_NO_SPACE, ERR_IO */
  async start(signal: AbortSignal): Promise<void> {
    try {
      await this.#start(signal)
    } catch (error) {
      await this.#close()
      throw error
    }
  }

  /** Ends what runs, and writes what is pending of the index. */
  async stop(): Promise<void> {
    this.#index = undefined
    await this.#io?.stop()
    await this.#close()
  }

  /** Undefined also while the tier does not run: it has no room then. */
  allocate(byteLength: number): TierAllocation | undefined {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0)
      throw new RangeError(`Not a length: ${byteLength}`)
    if (this.#index == null) return undefined
    const piece = byteLength === 0 ? undefined : this.#allocator.allocate(byteLength)
    if (byteLength > 0 && piece == null) return undefined
    const row = this.#rows.take()
    this.#rows.offsets[row] = piece?.offset ?? 0
    this.#rows.pieceIds[row] = piece?.id ?? 0
    this.#rows.byteLengths[row] = byteLength
    return this.#rows.allocationOf(row)
  }

  /**
   * At once for what was not committed. Settles otherwise when the removal is durable: no index that is read
   * later speaks of the place, whoever has it then.
   * @throws ERR_INVALID_PARAMS for an allocation that is not held
   */
  free(allocation: TierAllocation): void | Promise<void> {
    const index = this.#index
    if (index == null) return // The next life has what was committed.
    const row = this.#rows.rowOf(allocation)
    if (this.#rows.states[row] !== RowState.held) {
      return index.remove(row).then(() => {
        this.#giveBack(row)
      })
    }
    this.#giveBack(row)
  }

  /** Objects are written whole: anything else is refused. */
  write(batch: readonly TierWriteOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    const moves = batch.map(({ allocation, from }) => ({ allocation, offset: 0, slice: from }))
    return this.#io?.run('write', moves, signal) ?? throwError(() => this.#atRest())
  }

  /** Objects are read whole, and checked: ERR_CHECKSUM_MISMATCH where they are not what was written. */
  read(batch: readonly TierReadOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    const moves = batch.map(({ allocation, offset, into }) => ({ allocation, offset, slice: into }))
    return this.#io?.run('read', moves, signal) ?? throwError(() => this.#atRest())
  }

  /** @throws ERR_INVALID_PARAMS, ERR_INVALID_KEY, ERR_SHUTTING_DOWN, ERR_IO, ERR_NO_SPACE */
  async commit(allocation: TierAllocation, identity: ObjectIdentity): Promise<void> {
    if (this.#index == null) throw this.#atRest()
    const row = this.#rows.rowOf(allocation)
    const { key, byteLength } = identity
    const isThere = byteLength === 0 || this.#rows.written[row] === 1
    if (byteLength !== allocation.byteLength || !isThere) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `${this.name}: the ${byteLength} bytes of ${key} were not written`,
      )
    }
    await this.#index.commit(row, identity)
  }

  recover(): AsyncIterable<Recovered> {
    if (this.#index == null) throw this.#atRest()
    return this.#index.recover()
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { directory: path, clusterId, fileBytes, createEngine = createIoEngine } = this.#settings
    const { memory, clock } = this.#needs
    const logger = this.#logger
    const begunMs = clock.nowMs()
    const directory = await TierDirectory.open({ path, clusterId, fileBytes })
    this.#onClose(() => directory.close())
    const engine = createEngine()
    this.#onClose(() => engine.close())
    if (engine.kind === 'threads')
      logger.warn('io_uring is refused here: threads do the I/O', { reason: engine.reason })
    signal.throwIfAborted()
    const shared = {
      directory: path,
      engine,
      memory,
      clock,
      logger,
      rows: this.#rows,
      allocator: this.#allocator,
    }
    const files = await DataFiles.open({
      ...shared,
      capacityBytes: this.capacityBytes,
      fileBytes: directory.superblock.fileBytes,
      directIo: this.#settings.directIo,
      preallocate: this.#settings.preallocate,
    })
    this.#onClose(() => files.close())
    signal.throwIfAborted()
    const syncCommits = this.#settings.durability === 'ack-on-fsync'
    const slackBytes = this.#settings.indexSlackBytes
    const index = await ObjectIndex.open({ ...shared, seed: directory.seed, files, syncCommits, slackBytes })
    this.#onClose(() => index.close())
    this.#io = this.#makeIo(engine, files)
    this.#index = index
    logger.info('Opened', {
      directory: path,
      objects: index.recoverable,
      tookMs: Math.round(clock.nowMs() - begunMs),
    })
  }

  #makeIo(engine: IoEngine, files: DataFiles): ObjectIo {
    const { memory, metrics } = this.#needs
    const { name, queueDepth, stagingBytes } = this.#settings
    const slots = new RegionSlots(engine)
    const staging = new Staging(memory, slots, stagingBytes)
    this.#onClose(() => {
      slots.close()
      staging.close()
    })
    return new ObjectIo({
      name,
      rows: this.#rows,
      queue: new DeviceQueue({ name, engine, files, slots, staging, copyPool: memory.copyPool, queueDepth }),
      layout: { fileBytes: files.fileBytes, alignment: files.alignment },
      isDirect: isDirect(files.alignment, slots),
      checksums: new Checksums(memory.copyPool),
      logger: this.#logger,
      badObjects: metrics.counter({
        name: 'tier_bad_objects_total',
        help: 'Objects that could not be read as they were written',
        labelNames: ['tier'],
      }),
    })
  }

  #giveBack(row: number): void {
    const { offsets, byteLengths, pieceIds } = this.#rows
    const [offset, byteLength, id] = [offsets[row]!, byteLengths[row]!, pieceIds[row]!]
    this.#rows.giveBack(row)
    if (byteLength > 0) this.#allocator.free({ id, offset, byteLength })
  }

  #onClose(close: () => Promise<void> | void): void {
    this.#closers.push(close)
  }

  async #close(): Promise<void> {
    for (let close = this.#closers.pop(); close != null; close = this.#closers.pop()) await close()
  }

  #atRest(): MooncakeError {
    return new MooncakeError('ERR_SHUTTING_DOWN', `${this.name} does not run`)
  }
}

/** Whether the device may reach into a slice itself. */
function isDirect({ memoryBytes }: Alignment, slots: RegionSlots): (slice: Slice) => boolean {
  return ({ region, offset }) =>
    memoryBytes === 1 || (offset % memoryBytes === 0 && slots.of(region).isPageAligned)
}
