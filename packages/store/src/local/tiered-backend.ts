import { MooncakeError, type Clock, type Logger } from '@mooncake-ts/core'
import type { Slice, Tier } from '@mooncake-ts/core'
import { hitDensity } from '../policies/hit-density.js'
import { TierScheduler } from '../tiering/tier-scheduler.js'
import type { SchedulerConfig } from '../tiering/scheduler-config.js'
import { assertWatermarks, watermarksOf } from './backend-init.js'
import type { BackendEvents, RemoveReason, TieredBackendInit } from './backend-init.js'
import { BackendMetrics, type TierView } from './backend-metrics.js'
import { CurrentObjects, type CommitResult } from './current-objects.js'
import type { Holding } from './holding.js'
import { InUse } from './in-use.js'
import { Lease } from './lease.js'
import { ObjectTable, type ObjectMeta, type Replica } from './object-table.js'
import type { Reservation } from './reservation.js'
import { Room, type ReserveOptions } from './room.js'
import { StagingPool } from './staging-pool.js'
import { TierIo } from './tier-io.js'
import { TimeSlice } from './time-slice.js'

export type { BackendEvents, RemoveReason, TieredBackendInit } from './backend-init.js'
export type { TierView } from './backend-metrics.js'
export type { CommitResult } from './current-objects.js'
export type { Lease } from './lease.js'
export type { ObjectMeta } from './object-table.js'
export type { Reservation } from './reservation.js'
export type { ReserveOptions } from './room.js'

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
  readonly #objects: CurrentObjects
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
    this.#table = new ObjectTable(init.tiers, init.evictionPolicy ?? hitDensity(), this.#isViewed)
    this.#metrics = new BackendMetrics(init.metrics, init.clock, {
      keyCount: () => this.keyCount,
      waitingReservations: () => this.#room.waitingCount,
      tierViews: () => this.tierViews(),
    })
    this.#objects = new CurrentObjects({
      table: this.#table,
      inUse: this.#inUse,
      events: init.events,
      onStored: key => this.#scheduler?.onStored(key),
      onEvictable: () => {
        this.#room.mayHaveGrown()
      },
    })
    this.#room = new Room({
      ...init,
      watermarksOf: tier => watermarksOf(tier, init),
      table: this.#table,
      metrics: this.#metrics,
      inUse: this.#inUse,
      evict: victim => {
        this.#objects.drop(victim, 'evicted')
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
    return await this.#objects.commit(reservation, meta, mode, installed)
  }

  /** Whether `commitNow` will do. */
  commitsNow({ holding }: Reservation): boolean {
    return holding.tier.commit == null
  }

  /** As `commit`, without a promise, in tiers that need not be asked. */
  commitNow(reservation: Reservation, meta: ObjectMeta, mode: 'put' | 'upsert'): CommitResult {
    return this.#objects.commitNow(reservation, meta, mode)
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

  /** What the object of this generation lies in, while it is current. */
  holdingOf(key: string, generation: number): Holding | undefined {
    const object = this.#table.get(key)
    return object?.generation === generation ? object.replicas[0]?.holding : undefined
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
      if (wrong && this.#table.has(replica)) this.#objects.drop(replica, 'lost')
      throw error
    }
  }

  /**
   * Forgets the key, where its generation is not above `generationMax`. True where it did. Readers keep their
   * bytes.
   */
  remove(key: string, generationMax = Infinity, reason: RemoveReason = 'removed'): boolean {
    return this.#objects.remove(key, generationMax, reason)
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
        if (this.#objects.adopt(space, identity, allocation)) recovered++
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
        this.#objects.addReplica(object, holding)
      },
      onEvictable: this.#room.mayHaveGrown,
      drop: (replica, reason) => {
        this.#objects.drop(replica, reason)
      },
    })
  }

  #assertOpen(): void {
    if (this.#closing != null) throw new MooncakeError('ERR_SHUTTING_DOWN')
  }

  /**
   * Of a replica in memory when it is acquired, of one at a device when it is read: it may be acquired once
   * more before that.
   */
  #countUse(replica: Replica): void {
    this.#metrics.read(replica.holding.tier)
    this.#scheduler?.onUsed(replica)
  }

  readonly #endLease = (replica: Replica): void => {
    replica.holding.release()
    this.#endRead(replica)
    this.#inUse.leave()
  }

  #endRead(replica: Replica): void {
    if (this.#table.endRead(replica)) this.#room.mayHaveGrown()
  }

  readonly #isViewed = (replica: Replica): boolean =>
    this.#events.isViewed?.(replica.object, replica.holding, () => {
      this.#endRead(replica)
    }) === true

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
