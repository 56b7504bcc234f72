import { hasCode, type Logger } from '@mooncake-ts/core'
import type { ObjectTable, Replica } from '../local/object-table.js'
import type { Reservation } from '../local/reservation.js'
import type { Room } from '../local/room.js'
import type { BackgroundGate } from './background-gate.js'
import type { DropReason } from './demoter.js'
import type { FrequencySketch } from './frequency-sketch.js'
import type { Level } from './level.js'
import type { ReplicaMover } from './replica-mover.js'
import type { SchedulerMetrics } from './scheduler-metrics.js'

export interface PromoterInit {
  readonly logger: Logger
  readonly table: ObjectTable
  readonly room: Room
  readonly mover: ReplicaMover
  readonly gate: BackgroundGate
  readonly sketch: FrequencySketch
  readonly metrics: SchedulerMetrics
  readonly accessesMin: number
  readonly queuedMax: number
  readonly signal: AbortSignal
  readonly mayMove: (key: string) => boolean
  readonly drop: (replica: Replica, reason: DropReason) => void
}

/**
 * Copies to a faster tier what is read there often enough, and oftener than what would have to go for it
 * (the admission rule of TinyLFU). The slow copy stays, so that going back costs nothing.
 */
export class Promoter {
  readonly #init: PromoterInit
  readonly #levels: readonly Level[]
  /** First in, first out. A Set is a queue that forgets in constant time. */
  readonly #queue = new Set<Replica>()
  readonly #moving = new Set<Replica>()

  constructor(init: PromoterInit, levels: readonly Level[]) {
    this.#init = init
    this.#levels = levels
  }

  get queued(): number {
    return this.#queue.size
  }

  /** A replica was read; its use has been counted. True where it is a candidate now. */
  onUsed(replica: Replica): boolean {
    const level = this.#levelOf(replica)
    if (level.faster.length === 0 || this.#queue.has(replica) || this.#moving.has(replica)) return false
    const { sketch, accessesMin, queuedMax, metrics } = this.#init
    const freely = level.faster.some(({ space, freelyBytes }) => space.usedBytes < freelyBytes)
    if (!freely && sketch.estimate(replica.object.key) < accessesMin) return false
    if (this.#queue.size >= queuedMax) {
      metrics.promotion(replica.holding.tier, 'refused', replica.byteLength)
      return false
    }
    this.#queue.add(replica)
    return true
  }

  /** Takes one step: begins one copy or gives one up. False where nothing can be done for now. */
  step(): boolean {
    const [replica] = this.#queue
    if (replica == null || !this.#init.gate.admits(replica.byteLength)) return false
    this.#queue.delete(replica)
    const { table, metrics, mayMove } = this.#init
    // Gone, or in a faster tier already.
    if (!table.has(replica) || replica.object.replicas[0] !== replica) return true
    const reservation = mayMove(replica.object.key) ? this.#reserve(replica) : undefined
    if (reservation == null) metrics.promotion(replica.holding.tier, 'refused', replica.byteLength)
    else void this.#promote(replica, reservation)
    return true
  }

  /** In the fastest tier that has nothing hotter to lose by it. */
  #reserve(replica: Replica): Reservation | undefined {
    const { room } = this.#init
    for (const level of this.#levelOf(replica).faster) {
      if (!this.#isHotter(replica, level)) continue
      const reservation = room.reserveFree(level.space, replica.byteLength)
      if (reservation != null) return reservation
    }
    return undefined
  }

  #isHotter({ object, byteLength }: Replica, { space, lowBytes }: Level): boolean {
    const { sketch, table } = this.#init
    if (space.usedBytes + byteLength <= lowBytes) return true
    const victim = table.victim(space.tier, false)
    return victim != null && sketch.estimate(object.key) > sketch.estimate(victim.object.key)
  }

  /** Never rejects. */
  async #promote(replica: Replica, reservation: Reservation): Promise<void> {
    const { mover, gate, logger, metrics, signal, table, drop } = this.#init
    const { byteLength: bytes } = replica
    const { tier } = replica.holding
    this.#moving.add(replica)
    gate.enter(bytes)
    try {
      const copied = await mover.copy(replica, reservation, signal)
      metrics.promotion(tier, copied ? 'moved' : 'overtaken', bytes)
    } catch (error) {
      if (!signal.aborted) {
        metrics.promotion(tier, 'failed', bytes)
        logger.warn('An object could not be copied to a faster tier', { tier: tier.name, error })
        if (hasCode(error, 'ERR_CHECKSUM_MISMATCH') && table.has(replica)) drop(replica, 'lost')
      }
    } finally {
      this.#moving.delete(replica)
      gate.leave(bytes)
    }
  }

  #levelOf({ holding }: Replica): Level {
    return this.#levels.find(({ space }) => space.tier === holding.tier)!
  }
}
