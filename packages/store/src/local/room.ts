import { MooncakeError, type Clock, type Tier, type TierAllocation } from '@mooncake-ts/core'
import type { BackendMetrics } from './backend-metrics.js'
import type { InUse } from './in-use.js'
import type { ObjectTable, Replica } from './object-table.js'
import { Reservation } from './reservation.js'
import { TierSpace } from './tier-space.js'
import { noSpace, WaitingReservations, type WaitOptions } from './waiting-reservations.js'

/** What is left goes on in the next turn. */
const EVICTIONS_PER_TURN = 10_000

export interface ReserveOptions extends WaitOptions {
  /** Only this tier. @defaultValue any */
  readonly tier?: string
}

export interface RoomInit {
  readonly tiers: readonly Tier[]
  readonly clock: Clock
  /** Shares of a tier's capacity: eviction begins above the first and goes on down to the second. */
  readonly watermarksOf: (tier: Tier) => { readonly high: number; readonly low: number }
  readonly waitingReservationsMax: number
  readonly table: ObjectTable
  readonly metrics: BackendMetrics
  readonly inUse: InUse
  /** Takes a victim out of the table. Its space is free when its last holder lets go; it has no readers. */
  readonly evict: (victim: Replica) => void
  /** A tier gave space away. Must not change the backend. */
  readonly onTaken: (space: TierSpace) => void
  /** Space came back, or can be evicted now. Must not change the backend. */
  readonly onGrown: () => void
}

/** How much may still be done in this turn of the event loop, in objects to evict or requests to serve. */
interface Budget {
  left: number
}

/**
 * Who gets space, where, and at whose expense. A request takes the fastest tier that has room or can make it
 * by eviction; those that find none wait, and are served in their order. What is evicted is O(1) to find, and
 * what one turn of the event loop evicts is bounded.
 */
export class Room {
  /** Fastest first. */
  readonly spaces: readonly TierSpace[]
  readonly #table: ObjectTable
  readonly #metrics: BackendMetrics
  readonly #inUse: InUse
  readonly #evictOne: (victim: Replica) => void
  readonly #onTaken: (space: TierSpace) => void
  readonly #onGrown: () => void
  readonly #waiting: WaitingReservations
  readonly #waitingMax: number
  #pumpScheduled = false
  #closed = false

  constructor(init: RoomInit) {
    this.#table = init.table
    this.#metrics = init.metrics
    this.#inUse = init.inUse
    this.#evictOne = init.evict
    this.#onTaken = init.onTaken
    this.#onGrown = init.onGrown
    this.#waitingMax = init.waitingReservationsMax
    this.spaces = init.tiers
      .map(tier => new TierSpace(tier, init.watermarksOf(tier), this.mayHaveGrown))
      .sort((a, b) => b.tier.priority - a.tier.priority)
    this.#waiting = new WaitingReservations(init.clock, {
      onWaited: waitMs => {
        init.metrics.waitMs.observe(waitMs)
      },
      onGaveUp: this.mayHaveGrown,
    })
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  /** See `TieredBackend.reserve`. */
  async reserve(byteLength: number, options: ReserveOptions): Promise<Reservation> {
    options.signal.throwIfAborted()
    const spaces = this.#candidates(byteLength, options.tier)
    if (spaces.length === 0) throw noSpace(byteLength, this.spaces, 'at all')
    const budget = { left: EVICTIONS_PER_TURN }
    const now = this.#tryReserve(byteLength, spaces, budget)
    if (now != null) return now
    if (this.#waiting.size >= this.#waitingMax) {
      throw new MooncakeError('ERR_OVERLOADED', `More than ${this.#waitingMax} puts wait for space`)
    }
    const turn = this.#waiting.add(byteLength, spaces, options)
    if (budget.left <= 0) this.#pumpNextTurn()
    return await turn
  }

  /** See `TieredBackend.reserveNow`. */
  reserveNow(byteLength: number, tier?: string): Reservation | undefined {
    return this.#tryReserve(byteLength, this.#candidates(byteLength, tier), { left: EVICTIONS_PER_TURN })
  }

  /**
   * What is free in one tier, at nobody's expense: undefined also where others wait for it.
   * @throws ERR_SHUTTING_DOWN
   */
  reserveFree(space: TierSpace, byteLength: number): Reservation | undefined {
    this.#assertOpen()
    if (space.waitingCount > 0) return undefined
    const allocation = space.tier.allocate(byteLength)
    return allocation == null ? undefined : this.#reservation(space, allocation, { left: EVICTIONS_PER_TURN })
  }

  /** Refuses those who wait, and all that come. */
  close(): void {
    this.#closed = true
    this.#waiting.failAll(new MooncakeError('ERR_SHUTTING_DOWN'))
  }

  /** Tiers that could ever take so many bytes. */
  #candidates(byteLength: number, name: string | undefined): readonly TierSpace[] {
    this.#assertOpen()
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `byteLength: ${byteLength} is not a length`)
    }
    const named = name == null ? this.spaces : this.spaces.filter(({ tier }) => tier.name === name)
    if (name != null && named.length === 0)
      throw new MooncakeError('ERR_SEGMENT_NOT_FOUND', `No tier ${name}`)
    return named.filter(({ tier }) => byteLength <= tier.capacityBytes)
  }

  /** For newcomers: a tier that others wait for is theirs. What needs no space takes none from them. */
  #tryReserve(byteLength: number, spaces: readonly TierSpace[], budget: Budget): Reservation | undefined {
    const free =
      byteLength === 0 || this.#waiting.size === 0 ? spaces : spaces.filter(space => space.waitingCount === 0)
    return this.#makeRoom(byteLength, free, budget)
  }

  /** In the order of the tiers; soft pins go only when no tier has anything else left to evict. */
  #makeRoom(byteLength: number, spaces: readonly TierSpace[], budget: Budget): Reservation | undefined {
    for (const softPins of [false, true]) {
      for (const space of spaces) {
        const allocation = this.#allocate(space, byteLength, softPins, budget)
        if (allocation != null) return this.#reservation(space, allocation, budget)
      }
    }
    return undefined
  }

  #reservation(space: TierSpace, allocation: TierAllocation, budget: Budget): Reservation {
    const reservation = new Reservation(space.hold(allocation), this.#inUse)
    if (space.usedBytes > space.highBytes) this.#evict(space, space.usedBytes - space.lowBytes, false, budget)
    this.#onTaken(space)
    return reservation
  }

  #allocate(
    space: TierSpace,
    byteLength: number,
    softPins: boolean,
    budget: Budget,
  ): TierAllocation | undefined {
    const { tier } = space
    let allocation = tier.allocate(byteLength)
    if (allocation != null || !space.couldFit(byteLength, this.#table.evictableBytes(tier, softPins)))
      return allocation
    while (allocation == null) {
      const shortBytes = byteLength - (tier.capacityBytes - space.usedBytes)
      if (shortBytes <= 0 && space.freeingBytes > 0) return undefined // Enough is on its way back.
      // Enough, but in pieces: one victim at a time. Soft pins are spent as needed, the rest goes down to the
      // low watermark.
      const needBytes = Math.max(1, shortBytes)
      const wantBytes = softPins ? needBytes : Math.max(needBytes, space.usedBytes - space.lowBytes)
      if (!this.#evict(space, wantBytes, softPins, budget)) return undefined
      allocation = tier.allocate(byteLength)
    }
    return allocation
  }

  /** Until so many bytes went, none is left to evict, or the turn is over. True where anything went. */
  #evict(space: TierSpace, wantBytes: number, softPins: boolean, budget: Budget): boolean {
    let objects = 0
    let bytes = 0
    while (bytes < wantBytes && budget.left > 0) {
      const victim = this.#table.victim(space.tier, softPins)
      if (victim == null) break
      budget.left--
      objects++
      bytes += victim.takenBytes
      this.#evictOne(victim)
    }
    if (objects > 0) this.#metrics.evicted(space.tier, objects, bytes)
    return objects > 0
  }

  /**
   * Space came back, or can be evicted now. Looks at the end of the current step, so that many frees cost one
   * look at the queue.
   */
  readonly mayHaveGrown = (): void => {
    this.#onGrown()
    if (this.#waiting.size === 0 || this.#pumpScheduled) return
    this.#pumpScheduled = true
    queueMicrotask(this.#pump)
  }

  #assertOpen(): void {
    if (this.#closed) throw new MooncakeError('ERR_SHUTTING_DOWN')
  }

  #pumpNextTurn(): void {
    if (this.#pumpScheduled) return
    this.#pumpScheduled = true
    setImmediate(this.#pump)
  }

  /**
   * Serves those who wait in their order; a tier that could not serve one of them serves nobody behind him.
   */
  readonly #pump = (): void => {
    const budget = { left: EVICTIONS_PER_TURN }
    const blocked = new Set<TierSpace>()
    for (const waiting of this.#waiting) {
      if (budget.left <= 0 || blocked.size === this.spaces.length) break
      budget.left--
      const open = waiting.spaces.filter(space => !blocked.has(space))
      const reservation = this.#makeRoom(waiting.byteLength, open, budget)
      if (reservation != null) waiting.admit(reservation)
      else waiting.spaces.forEach(space => blocked.add(space))
    }
    this.#pumpScheduled = false // Not before: what it evicts itself is no reason to look again.
    if (budget.left <= 0 && this.#waiting.size > 0) this.#pumpNextTurn()
  }
}
