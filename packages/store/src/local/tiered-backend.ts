import { MooncakeError, type Clock, type Logger, type MemoryProvider, type Metrics } from '@mooncake-ts/core'
import type { EvictionPolicyFactory, ObjectIdentity } from '@mooncake-ts/core'
import type { Slice, Tier, TierAllocation } from '@mooncake-ts/core'
import { hitDensity } from '../policies/hit-density.js'
import { TierScheduler } from '../tiering/tier-scheduler.js'
import type { SchedulerConfig } from '../tiering/scheduler-config.js'
import { BackendMetrics, type TierView } from './backend-metrics.js'
import type { Holding } from './holding.js'
import { InUse } from './in-use.js'
import { Lease } from './lease.js'
import { ObjectTable, type ObjectMeta, type Replica, type StoredObject } from './object-table.js'
import type { Reservation } from './reservation.js'
import { Room, type ReserveOptions } from './room.js'
import { StagingPool } from './staging-pool.js'
import { TierIo } from './tier-io.js'
import type { TierSpace } from './tier-space.js'
import { TimeSlice } from './time-slice.js'

export type { TierView } from './backend-metrics.js'
export type { Lease } from './lease.js'
export type { ObjectMeta } from './object-table.js'
export type { Reservation } from './reservation.js'
export type { ReserveOptions } from './room.js'

/** `evicted` and `demoted`: one replica went for want of space; after a demotion a slower tier has the object. */
export type RemoveReason = 'evicted' | 'demoted' | 'removed' | 'replaced' | 'lost'

export type CommitResult = 'committed' | 'exists' | 'stale'

/** Called inside of the change, after it is made. They must neither throw nor change the backend. */
export interface BackendEvents {
  committed(meta: ObjectMeta, tier: Tier): void
  /** The object has another replica, in this tier. */
  copied(meta: ObjectMeta, tier: Tier): void
  removed(meta: ObjectMeta, tier: Tier, reason: RemoveReason): void
}

export interface TieredBackendInit {
  readonly tiers: readonly Tier[]
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly events: BackendEvents
  /** Eviction begins above this share of a tier's capacity … */
  readonly evictionHighWatermark: number
  /** … and goes on down to this. */
  readonly evictionLowWatermark: number
  readonly waitingReservationsMax: number
  /** Who goes when a tier is full. @defaultValue `hitDensity()` */
  readonly evictionPolicy?: EvictionPolicyFactory
  /** Moves objects between tiers. @defaultValue nothing does */
  readonly scheduler?: Required<SchedulerConfig> | undefined
  /** Whether the object of this key may change its tier now. @defaultValue any may */
  readonly mayMove?: (key: string) => boolean
  /** Operations that wait for their turn elsewhere in the process. @defaultValue none */
  readonly foregroundWaiting?: () => number
  /** For parts of objects in tiers that can only be read whole. @defaultValue a pool of its own */
  readonly staging?: StagingPool
}

/**
 * The objects of one node, over its tiers. Bytes are owned by Holdings; the table says which are current and
 * who goes next; space is given to the fastest tier that has it or can make it. All decisions are
 * synchronous, so they need no locks: only moving bytes takes time.
 */
export class TieredBackend {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #events: BackendEvents
  readonly #metrics: BackendMetrics
  readonly #io: TierIo
  readonly #table: ObjectTable
  readonly #room: Room
  readonly #scheduler: TierScheduler | undefined
  /** Leases, reservations and what moves bytes for them. */
  readonly #inUse = new InUse()
  #closing: Promise<void> | undefined

  /** @throws ERR_INVALID_PARAMS */
  constructor(init: TieredBackendInit) {
    assertWatermarks(init)
    this.#clock = init.clock
    this.#logger = init.logger
    this.#events = init.events
    this.#io = new TierIo(init.memory, init.staging ?? new StagingPool(init.memory))
    this.#table = new ObjectTable(init.tiers, init.evictionPolicy ?? hitDensity())
    this.#metrics = new BackendMetrics(init.metrics, init.clock, {
      keyCount: () => this.keyCount,
      waitingReservations: () => this.#room.waitingCount,
      tierViews: () => this.tierViews(),
    })
    this.#room = new Room({
      ...init,
      watermarksOf: tier => watermarksOf(tier, init),
      table: this.#table,
      metrics: this.#metrics,
      inUse: this.#inUse,
      evict: victim => {
        this.#drop(victim, 'evicted')
      },
      onTaken: space => this.#scheduler?.onTaken(space),
      onGrown: () => this.#scheduler?.onGrown(),
    })
    if (init.scheduler != null) this.#scheduler = this.#createScheduler(init, init.scheduler)
  }

  // ---- space

  /**
   * Space for an object, in the fastest tier that has it or can evict for it. When all are full, waits its
   * turn, first in first out.
   *
   * @throws ERR_NO_AVAILABLE_HANDLE at the deadline, and at once where no tier is large enough;
   * ERR_OVERLOADED, ERR_SHUTTING_DOWN, ERR_SEGMENT_NOT_FOUND, the signal's reason
   */
  async reserve(byteLength: number, options: ReserveOptions): Promise<Reservation> {
    return await this.#room.reserve(byteLength, options)
  }

  /** The same, now or not at all, and without a promise. @throws ERR_SHUTTING_DOWN, ERR_SEGMENT_NOT_FOUND */
  reserveNow(byteLength: number, tier?: string): Reservation | undefined {
    return this.#room.reserveNow(byteLength, tier)
  }

  /**
   * Copies the bytes of an object into its place, in any tier. Settles when `from` is not needed any more,
   * also on abort.
   */
  async fill(reservation: Reservation, from: Slice, signal: AbortSignal): Promise<void> {
    await this.#using(reservation.holding, () => this.#io.write(reservation.holding, from, signal))
  }

  /**
   * Gives the bytes a name. `exists`: a put met a current object; `stale`: an upsert met a newer one; in both
   * cases the reservation is abandoned and the current object stays. Otherwise this is the current object
   * now, and the one before is gone for all but its readers. Where it fails the reservation is abandoned, and
   * nothing has changed.
   *
   * @param installed called inside of the change, where there is one
   * @throws ERR_INVALID_PARAMS, ERR_INVALID_WRITE for a reservation that has ended, the tier's own errors
   */
  async commit(
    reservation: Reservation,
    meta: ObjectMeta,
    mode: 'put' | 'upsert',
    installed: () => void = () => {},
  ): Promise<CommitResult> {
    const holding = reservation.take()
    let outcome: CommitResult | undefined
    try {
      assertMeta(meta, holding)
      const { tier, allocation } = holding
      if (this.#conflict(meta, mode) == null) await tier.commit?.(allocation, meta)
      outcome = this.#tryInstall(meta, holding, mode) // Another writer may have been faster.
      if (outcome === 'committed') installed()
      return outcome
    } finally {
      this.#endCommit(holding, outcome)
    }
  }

  /** Whether `commitNow` will do. */
  commitsNow({ holding }: Reservation): boolean {
    return holding.tier.commit == null
  }

  /** As `commit`, without a promise, in tiers that need not be asked. */
  commitNow(reservation: Reservation, meta: ObjectMeta, mode: 'put' | 'upsert'): CommitResult {
    const holding = reservation.take()
    let outcome: CommitResult | undefined
    try {
      assertMeta(meta, holding)
      outcome = this.#tryInstall(meta, holding, mode)
      return outcome
    } finally {
      this.#endCommit(holding, outcome)
    }
  }

  // ---- objects

  /**
   * Holds the current object's best replica for reading, which counts as a use. Undefined for a miss.
   * @throws ERR_SHUTTING_DOWN
   */
  acquire(key: string): Lease | undefined {
    this.#assertOpen()
    const replica = this.#table.get(key)?.replicas[0]
    if (replica == null) return undefined
    if (replica.holding.slice != null) this.#countUse(replica)
    this.#table.beginRead(replica)
    replica.holding.retain()
    this.#inUse.enter()
    return new Lease(replica, this.#endLease)
  }

  /** Does not count as a use. */
  peek(key: string): ObjectMeta | undefined {
    return this.#table.get(key)
  }

  has(key: string): boolean {
    return this.#table.get(key) != null
  }

  /** Where the object of this generation lies in memory, while it is current. */
  sliceOf(key: string, generation: number): Slice | undefined {
    const object = this.#table.get(key)
    return object?.generation === generation ? object.replicas[0]?.holding.slice : undefined
  }

  /** It was read by somebody who needed no lease. */
  used(key: string): void {
    const replica = this.#table.get(key)?.replicas[0]
    if (replica == null) return
    this.#countUse(replica)
    this.#table.use(replica)
  }

  /**
   * Fills `into` with the object's bytes from `offset` on. Settles when `into` is not touched any more, also
   * on abort. Whole objects of persistent tiers are checked against their checksum, where they have one; a
   * replica that fails is dropped.
   *
   * @throws ERR_CHECKSUM_MISMATCH, ERR_SLICE_OUT_OF_BOUNDS, ERR_IO, the signal's reason
   */
  async readInto(lease: Lease, offset: number, into: Slice, signal: AbortSignal): Promise<void> {
    const { replica, holding, meta } = lease
    if (lease.released) throw new MooncakeError('ERR_INVALID_PARAMS', `The lease on ${meta.key} was released`)
    if (holding.slice == null) this.#countUse(replica)
    try {
      await this.#using(holding, () => this.#io.read(holding, meta, offset, into, signal))
    } catch (error) {
      const wrong = (error as { code?: unknown }).code === 'ERR_CHECKSUM_MISMATCH'
      if (wrong && this.#table.has(replica)) this.#drop(replica, 'lost')
      throw error
    }
  }

  /**
   * Forgets the key, where its generation is not above `generationMax`. True where it did. Readers keep their
   * bytes.
   */
  remove(key: string, generationMax = Infinity, reason: RemoveReason = 'removed'): boolean {
    const object = this.#table.get(key)
    if (object == null || object.generation > generationMax) return false
    this.#table.delete(object)
    this.#releaseAll(object.replicas, reason)
    return true
  }

  /** How many went. Other work runs in between; what is put meanwhile may or may not be asked about. */
  async removeWhere(predicate: (meta: ObjectMeta) => boolean): Promise<number> {
    let removed = 0
    const slice = new TimeSlice(this.#clock)
    for (const object of this.#table.values()) {
      if (predicate(object) && this.remove(object.key)) removed++
      if (slice.isOver) await slice.nextTurn()
    }
    return removed
  }

  /** Every replica of every current object. The table may change meanwhile. */
  *entries(): IterableIterator<{ meta: ObjectMeta; tier: Tier }> {
    for (const object of this.#table.values()) {
      for (const { holding } of object.replicas) yield { meta: object, tier: holding.tier }
    }
  }

  get keyCount(): number {
    return this.#table.size
  }

  /** Fastest first. */
  tierViews(): TierView[] {
    return this.#room.spaces.map(({ tier }) => ({
      tier,
      capacityBytes: tier.capacityBytes,
      usedBytes: tier.usedBytes,
      keyCount: this.#table.keyCount(tier),
    }))
  }

  // ---- life

  /**
   * Takes over what persistent tiers kept; of several generations of a key the newest stays. Gives the number
   * of replicas that did.
   */
  async recover(): Promise<number> {
    let recovered = 0
    const slice = new TimeSlice(this.#clock)
    for (const space of this.#room.spaces) {
      const { tier } = space
      if (!tier.supports.persistence || tier.recover == null) continue
      let found = 0
      for await (const { identity, allocation } of tier.recover()) {
        this.#assertOpen()
        found++
        if (this.#adopt(space, identity, allocation)) recovered++
        if (slice.isOver) await slice.nextTurn()
      }
      this.#logger.info('Recovered a tier', { tier: tier.name, found })
    }
    return recovered
  }

  /** Begins no more copies between tiers, and aborts those that run: `close` waits for them. Idempotent. */
  stopMoving(): void {
    this.#scheduler?.close()
  }

  /**
   * Takes no new work, refuses the puts that wait, and settles when every lease and every reservation has
   * ended. What the tiers hold stays: stopping them is for their owner, afterwards. Idempotent.
   */
  close(): Promise<void> {
    if (this.#closing == null) {
      this.stopMoving()
      this.#closing = this.#inUse.idle()
      this.#room.close()
      this.#metrics[Symbol.dispose]()
    }
    return this.#closing
  }

  #createScheduler(init: TieredBackendInit, config: Required<SchedulerConfig>): TierScheduler {
    return new TierScheduler({
      config,
      clock: init.clock,
      logger: init.logger,
      metrics: init.metrics,
      table: this.#table,
      room: this.#room,
      io: this.#io,
      inUse: this.#inUse,
      foregroundWaiting: init.foregroundWaiting ?? (() => 0),
      mayMove: init.mayMove ?? (() => true),
      onCopied: ({ object }, holding) => {
        this.#addReplica(object, holding)
      },
      onEvictable: this.#room.mayHaveGrown,
      drop: (replica, reason) => {
        this.#drop(replica, reason)
      },
    })
  }

  #assertOpen(): void {
    if (this.#closing != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
  }

  // ---- keeping the table and the holds in step

  #conflict(meta: ObjectMeta, mode: 'put' | 'upsert'): 'exists' | 'stale' | undefined {
    const current = this.#table.get(meta.key)
    if (current == null) return undefined
    if (mode === 'put') return 'exists'
    return current.generation > meta.generation ? 'stale' : undefined
  }

  #tryInstall(meta: ObjectMeta, holding: Holding, mode: 'put' | 'upsert'): CommitResult {
    const conflict = this.#conflict(meta, mode)
    if (conflict != null) return conflict
    this.#install(meta, holding)
    this.#scheduler?.onStored(meta.key)
    return 'committed'
  }

  #endCommit(holding: Holding, outcome: CommitResult | undefined): void {
    if (outcome !== 'committed') holding.release()
    this.#inUse.leave()
  }

  #install(meta: ObjectMeta, holding: Holding): void {
    const { current, previous } = this.#table.set(meta, holding)
    if (previous != null) this.#releaseAll(previous.replicas, 'replaced')
    this.#installed(current, holding)
  }

  #installed(current: StoredObject, holding: Holding): void {
    this.#events.committed(current, holding.tier)
    this.#room.mayHaveGrown() // It can be evicted now.
  }

  #adopt(space: TierSpace, identity: ObjectIdentity, allocation: TierAllocation): boolean {
    const holding = space.hold(allocation)
    const current = this.#table.get(identity.key)
    if (current == null) {
      this.#installed(this.#table.add(identity, holding), holding)
      return true
    }
    if (current.generation < identity.generation) {
      this.#install({ ...identity, softPin: false, hardPin: false }, holding)
      return true
    }
    const isCopy = current.generation === identity.generation
    if (isCopy && current.replicas.every(replica => replica.holding.tier !== space.tier)) {
      this.#addReplica(current, holding)
      return true
    }
    holding.release()
    return false
  }

  /**
   * Of a replica in memory when it is acquired, of one at a device when it is read: it may be acquired once
   * more before that.
   */
  #countUse(replica: Replica): void {
    this.#metrics.read(replica.holding.tier)
    this.#scheduler?.onUsed(replica)
  }

  #addReplica(object: StoredObject, holding: Holding): void {
    this.#table.addReplica(object, holding)
    this.#events.copied(object, holding.tier)
    this.#room.mayHaveGrown() // It can be evicted now.
  }

  /** The one way in which a replica leaves the table alone. */
  #drop(replica: Replica, reason: RemoveReason): void {
    this.#table.deleteReplica(replica, reason === 'evicted' || reason === 'demoted')
    this.#releaseAll([replica], reason)
  }

  /** For replicas that have left the table. */
  #releaseAll(replicas: readonly Replica[], reason: RemoveReason): void {
    for (const { object, holding } of replicas) {
      this.#events.removed(object, holding.tier, reason) // Before its bytes can be anything else.
      holding.release()
    }
  }

  readonly #endLease = (replica: Replica): void => {
    replica.holding.release()
    if (this.#table.endRead(replica)) this.#room.mayHaveGrown()
    this.#inUse.leave()
  }

  /**
   * Keeps a hold for as long as bytes move, whatever becomes of the lease or the reservation meanwhile (I2).
   */
  async #using(holding: Holding, move: () => Promise<void>): Promise<void> {
    const atDevice = holding.slice == null
    holding.retain()
    this.#inUse.enter()
    if (atDevice) this.#scheduler?.beginForeground()
    try {
      await move()
    } finally {
      if (atDevice) this.#scheduler?.endForeground()
      holding.release()
      this.#inUse.leave()
    }
  }
}

function assertWatermarks(init: TieredBackendInit): void {
  const { evictionHighWatermark: high, evictionLowWatermark: low } = init
  if (low >= 0 && low <= high && high <= 1) return
  const message = `evictionLowWatermark (${low}) and evictionHighWatermark (${high}) must be shares of 1, the first not above the second`
  throw new MooncakeError('ERR_INVALID_PARAMS', message)
}

/** A tier whose victims go to a slower one evicts only what is above the limit: it has been relieved before. */
function watermarksOf(tier: Tier, init: TieredBackendInit): { readonly high: number; readonly low: number } {
  const { scheduler, tiers, evictionHighWatermark: high, evictionLowWatermark: low } = init
  const demotes = scheduler?.demotion === true && tiers.some(({ priority }) => priority < tier.priority)
  return demotes ? { high: scheduler.limitWatermark, low: scheduler.limitWatermark } : { high, low }
}

function assertMeta(meta: ObjectMeta, holding: Holding): void {
  if (!Number.isSafeInteger(meta.generation)) {
    throw new MooncakeError('ERR_INVALID_PARAMS', `generation: ${meta.generation} is not a safe integer`)
  }
  if (meta.byteLength !== holding.byteLength) {
    const message = `byteLength: ${meta.byteLength} is not that of the reservation, ${holding.byteLength}`
    throw new MooncakeError('ERR_INVALID_PARAMS', message)
  }
}
