import { asMooncakeError, type CopyOp, type MemoryProvider, type Slice } from '@mooncake-ts/core'
import type { Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { StagingPool } from '../local/staging-pool.js'
import type { Committer, CommitOutcome } from '../peers/committer.js'
import { leaseExpired } from '../peers/inline-writer.js'
import { metaOf } from '../peers/meta-of.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { WriteTerms } from '../peers/remote-writer.js'
import { subSlice } from '../transfer/slices.js'
import type { WriteOutcome, WriteTask } from './peer-writes.js'

/** An object, and where it goes. */
interface Placed {
  readonly task: WriteTask
  /** Among those of the call. */
  readonly position: number
  readonly reservation: Reservation
}

/** Writes objects into this node's own tiers. */
export class LocalWrites {
  readonly #backend: TieredBackend
  readonly #memory: MemoryProvider
  readonly #staging: StagingPool
  readonly #committer: Committer
  readonly #unannounced: Unannounced

  constructor(init: {
    readonly backend: TieredBackend
    readonly memory: MemoryProvider
    readonly staging: StagingPool
    readonly committer: Committer
    readonly unannounced: Unannounced
  }) {
    this.#backend = init.backend
    this.#memory = init.memory
    this.#staging = init.staging
    this.#committer = init.committer
    this.#unannounced = init.unannounced
  }

  /** One outcome per task, in order. Those that find room in memory at once go together. */
  async write(
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    signal: AbortSignal,
    leased = false,
  ): Promise<WriteOutcome[]> {
    const outcomes = new Array<WriteOutcome>(tasks.length)
    const waits: Promise<void>[] = []
    const ready: Placed[] = []
    tasks.forEach((task, position) => {
      const reservation = this.#reserveNow(task, terms)
      if (reservation != null) ready.push({ task, position, reservation })
      else {
        waits.push(
          this.#writeSlowly(task, terms, signal, leased).then(outcome => {
            outcomes[position] = outcome
          }),
        )
      }
    })
    if (ready.length > 0) waits.push(this.#writeNow(ready, terms, leased, outcomes))
    await Promise.all(waits)
    return outcomes
  }

  /** In memory, for a key that is not here. */
  #reserveNow({ key, byteLength }: WriteTask, { upsert }: WriteTerms): Reservation | undefined {
    if (!upsert && this.#backend.has(key)) return undefined
    const reservation = this.#backend.reserveNow(byteLength)
    if (reservation?.slice != null) return reservation
    reservation?.abandon()
    return undefined
  }

  async #writeNow(
    placed: readonly Placed[],
    terms: WriteTerms,
    leased: boolean,
    outcomes: WriteOutcome[],
  ): Promise<void> {
    const whole = await this.#copy(placed, outcomes)
    const commits = whole.map(({ task, reservation }) => ({ reservation, meta: metaOf(task, terms) }))
    const committed = await this.#committer.commitMany(commits, terms.upsert ? 'upsert' : 'put', leased)
    whole.forEach(({ position }, i) => {
      outcomes[position] = outcomeOf(committed[i]!, leased)
    })
  }

  /**
   * Those that were copied; the others have their outcome. Together, and each by itself where that is refused:
   * for the sake of one whose Region was closed meanwhile the others need not fail.
   */
  async #copy(placed: readonly Placed[], outcomes: WriteOutcome[]): Promise<readonly Placed[]> {
    try {
      await this.#memory.copyPool.copy(
        placed.flatMap(({ task, reservation }) => gather(task.parts, reservation.slice!)),
      )
      return placed
    } catch (cause) {
      if (placed.length > 1) {
        return (await Promise.all(placed.map(each => this.#copy([each], outcomes)))).flat()
      }
      const [{ position, reservation }] = placed as readonly [Placed]
      reservation.abandon()
      outcomes[position] = { existed: false, error: asMooncakeError(cause) }
      return []
    }
  }

  /** Never rejects. */
  async #writeSlowly(
    task: WriteTask,
    terms: WriteTerms,
    signal: AbortSignal,
    leased: boolean,
  ): Promise<WriteOutcome> {
    const { byteLength, parts } = task
    const { upsert, waitMs } = terms
    try {
      if (!upsert && this.#backend.has(task.key)) {
        await this.#unannounced.answered([task], signal)
        return { existed: true }
      }
      const reservation = await this.#backend.reserve(byteLength, { deadlineMs: waitMs, signal })
      try {
        await this.#fill(reservation, parts, byteLength, signal)
      } catch (error) {
        reservation.abandon()
        throw error
      }
      const commits = [{ reservation, meta: metaOf(task, terms) }]
      const [outcome] = await this.#committer.commitMany(commits, upsert ? 'upsert' : 'put', leased)
      return outcomeOf(outcome!, leased)
    } catch (error) {
      return { error: asMooncakeError(error), existed: false }
    }
  }

  async #fill(
    reservation: Reservation,
    parts: readonly Slice[],
    byteLength: number,
    signal: AbortSignal,
  ): Promise<void> {
    if (reservation.slice != null) {
      await this.#memory.copyPool.copy(gather(parts, reservation.slice))
    } else if (parts.length === 1) {
      await this.#backend.fill(reservation, parts[0]!, signal)
    } else {
      const staged = await this.#staging.acquire(byteLength, signal)
      try {
        await this.#memory.copyPool.copy(gather(parts, staged.slice))
        await this.#backend.fill(reservation, staged.slice, signal)
      } finally {
        staged.release()
      }
    }
  }
}

function outcomeOf(outcome: CommitOutcome, leased: boolean): WriteOutcome {
  return leased && outcome.existed ? { existed: false, error: leaseExpired() } : outcome
}

function gather(parts: readonly Slice[], into: Slice): CopyOp[] {
  const copies: CopyOp[] = []
  let at = 0
  for (const from of parts) {
    if (from.byteLength > 0) copies.push({ from, to: subSlice(into, at, from.byteLength) })
    at += from.byteLength
  }
  return copies
}
