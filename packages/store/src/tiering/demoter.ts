import { hasCode, type Clock, type Logger } from '@mooncake-ts/core'
import type { ObjectTable, Replica } from '../local/object-table.js'
import type { Reservation } from '../local/reservation.js'
import type { Room } from '../local/room.js'
import type { TierSpace } from '../local/tier-space.js'
import type { BackgroundGate } from './background-gate.js'
import type { FrequencySketch } from './frequency-sketch.js'
import { hasSlowerCopy, type Level } from './level.js'
import type { ReplicaMover } from './replica-mover.js'
import type { SchedulerMetrics } from './scheduler-metrics.js'

/** A tier that failed to take an object is left alone for so long. */
const BACK_OFF_MS = 1000

export type DropReason = 'demoted' | 'evicted' | 'lost'

export interface DemoterInit {
  readonly clock: Clock
  readonly logger: Logger
  readonly table: ObjectTable
  readonly room: Room
  readonly mover: ReplicaMover
  readonly gate: BackgroundGate
  readonly sketch: FrequencySketch
  readonly metrics: SchedulerMetrics
  readonly accessesMin: number
  readonly signal: AbortSignal
  readonly mayMove: (key: string) => boolean
  readonly drop: (replica: Replica, reason: DropReason) => void
}

/** A tier above its high watermark, on its way down to the low one. */
interface Relief {
  /** What the tier has again when the copies that run are whole: in its own blocks, as its usage. */
  movingBytes: number
  active: boolean
}

/**
 * Makes room in tiers that have a slower one before it is needed. There is no queue: a victim is chosen at
 * the moment when its copy can begin, so it is the coldest then, and what is read meanwhile stays.
 */
export class Demoter {
  readonly #init: DemoterInit
  readonly #reliefs = new Map<Level, Relief>()
  /** Being copied and not used since. */
  readonly #cold = new Set<Replica>()
  readonly #backOffUntilMs = new Map<TierSpace, number>()

  constructor(init: DemoterInit, levels: readonly Level[]) {
    this.#init = init
    for (const level of levels) {
      if (level.slower.length > 0) this.#reliefs.set(level, { movingBytes: 0, active: false })
    }
  }

  /** Whether a tier has more than it should. */
  get due(): boolean {
    for (const { active } of this.#reliefs.values()) if (active) return true
    return false
  }

  /** Space was taken. True where demotion has to begin. */
  onTaken(level: Level): boolean {
    const relief = this.#reliefs.get(level)
    if (relief == null || level.space.usedBytes <= level.highBytes) return false
    relief.active = true
    return true
  }

  onUsed(replica: Replica): void {
    if (this.#cold.size > 0) this.#cold.delete(replica)
  }

  /** Takes one step: drops one object or begins one copy. False where nothing can be done for now. */
  step(): boolean {
    for (const [level, relief] of this.#reliefs) {
      if (relief.active && this.#stepIn(level, relief)) return true
    }
    return false
  }

  #stepIn(level: Level, relief: Relief): boolean {
    const { table, gate, sketch, metrics, accessesMin, mayMove, drop } = this.#init
    const { tier, usedBytes } = level.space
    if (usedBytes - relief.movingBytes <= level.lowBytes) {
      relief.active = false
      return false
    }
    const victim = table.victim(tier, false)
    if (victim == null) return false
    const bytes = victim.byteLength
    if (hasSlowerCopy(victim)) {
      drop(victim, 'demoted')
      return true
    }
    const targets = level.slower.filter(({ space }) => bytes <= space.tier.capacityBytes)
    if (targets.length === 0 || sketch.estimate(victim.object.key) < accessesMin) {
      metrics.demotion(tier, 'refused', bytes)
      drop(victim, 'evicted')
      return true
    }
    if (!mayMove(victim.object.key) || !gate.admits(bytes)) return false
    const reservation = this.#reserve(targets, bytes)
    if (reservation == null) return false
    void this.#demote(victim, reservation, relief)
    return true
  }

  #reserve(targets: readonly Level[], bytes: number): Reservation | undefined {
    const nowMs = this.#init.clock.nowMs()
    for (const { space } of targets) {
      if (nowMs < (this.#backOffUntilMs.get(space) ?? -Infinity)) continue
      const reservation = this.#init.room.reserveNow(bytes, space.tier.name)
      if (reservation != null) return reservation
    }
    return undefined
  }

  /** Never rejects. */
  async #demote(victim: Replica, reservation: Reservation, relief: Relief): Promise<void> {
    const { mover, gate, metrics, signal, drop } = this.#init
    const { byteLength: bytes, takenBytes } = victim
    const { tier } = victim.holding
    relief.movingBytes += takenBytes
    this.#cold.add(victim)
    gate.enter(bytes)
    try {
      const copied = await mover.copy(victim, reservation, signal, () => {
        if (this.#cold.has(victim)) drop(victim, 'demoted')
      })
      metrics.demotion(tier, copied ? 'moved' : 'overtaken', bytes)
    } catch (error) {
      if (!signal.aborted) this.#onFailure(victim, reservation, error)
    } finally {
      this.#cold.delete(victim)
      relief.movingBytes -= takenBytes
      gate.leave(bytes)
    }
  }

  /** Where it could not be saved it goes all the same, as without a slower tier. */
  #onFailure(victim: Replica, { holding }: Reservation, error: unknown): void {
    const { clock, logger, metrics, room, table, drop } = this.#init
    metrics.demotion(victim.holding.tier, 'failed', victim.byteLength)
    logger.warn('An object could not be copied to a slower tier', { tier: holding.tier.name, error })
    const sourceIsBad = hasCode(error, 'ERR_CHECKSUM_MISMATCH')
    if (!sourceIsBad) {
      const space = room.spaces.find(({ tier }) => tier === holding.tier)!
      this.#backOffUntilMs.set(space, clock.nowMs() + BACK_OFF_MS)
    }
    const stillCold = this.#cold.has(victim)
    if (table.has(victim) && (sourceIsBad || stillCold)) drop(victim, sourceIsBad ? 'lost' : 'evicted')
  }
}
