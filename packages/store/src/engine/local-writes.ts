import {
  asMooncakeError,
  MooncakeError,
  type CopyOp,
  type MemoryProvider,
  type Slice,
} from '@mooncake-ts/core'
import type { Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { StagingPool } from '../local/staging-pool.js'
import type { Committer } from '../peers/committer.js'
import { metaOf } from '../peers/meta-of.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { WriteTerms } from '../peers/remote-writer.js'
import { subSlice } from '../transfer/slices.js'
import type { WriteOutcome, WriteTask } from './peer-writes.js'

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

  /** One outcome per task, in order. */
  async write(
    tasks: readonly WriteTask[],
    terms: WriteTerms,
    signal: AbortSignal,
    leased = false,
  ): Promise<WriteOutcome[]> {
    return await Promise.all(
      tasks.map(task =>
        this.#writeOne(task, terms, signal, leased).catch((error: unknown) => ({
          error: asMooncakeError(error),
          existed: false,
        })),
      ),
    )
  }

  async #writeOne(
    task: WriteTask,
    terms: WriteTerms,
    signal: AbortSignal,
    leased: boolean,
  ): Promise<WriteOutcome> {
    if (!terms.upsert && this.#backend.has(task.key)) {
      await this.#unannounced.answered([task], signal)
      return { existed: true }
    }
    const { byteLength, parts } = task
    const { upsert, waitMs } = terms
    const reservation =
      this.#backend.reserveNow(byteLength) ??
      (await this.#backend.reserve(byteLength, { deadlineMs: waitMs, signal }))
    try {
      await this.#fill(reservation, parts, byteLength, signal)
    } catch (error) {
      reservation.abandon()
      throw error
    }
    const mode = upsert ? 'upsert' : 'put'
    const existed = await this.#committer.commit(reservation, metaOf(task, terms), mode, leased)
    if (existed && leased) throw new MooncakeError('ERR_LEASE_EXPIRED', 'Another value may be there')
    return { existed }
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

function gather(parts: readonly Slice[], into: Slice): CopyOp[] {
  const copies: CopyOp[] = []
  let at = 0
  for (const from of parts) {
    if (from.byteLength > 0) copies.push({ from, to: subSlice(into, at, from.byteLength) })
    at += from.byteLength
  }
  return copies
}
