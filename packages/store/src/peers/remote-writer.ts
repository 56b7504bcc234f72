import { setImmediate as nextTurn } from 'node:timers/promises'
import { asMooncakeError, MooncakeError, type Slice } from '@mooncake-ts/core'
import type { Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { StagingPool } from '../local/staging-pool.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'
import type { Committer } from './committer.js'
import { leaseExpired } from './inline-writer.js'
import { metaOf } from './meta-of.js'
import type { WireRegion, WriteItemSpec, WriteResultItem } from './protocol.js'
import { addOps, capacityOf } from './remote-reader.js'
import type { Unannounced } from './unannounced.js'
import type { WritesInFlight } from './writes-in-flight.js'

export interface WriteTerms {
  readonly upsert: boolean
  readonly softPin: boolean
  readonly hardPin: boolean
  /** How long to wait for space. */
  readonly waitMs: number
}

export interface WriteRequest extends WriteTerms {
  readonly regions: readonly WireRegion[]
  readonly items: readonly WriteItemSpec[]
  /** The generations come from a lease, in which this node's life had that id. */
  readonly leasedFor?: string | undefined
}

/** Space that an item has, and the memory that its bytes go to first. */
interface Target {
  readonly index: number
  readonly item: WriteItemSpec
  readonly reservation: Reservation
  readonly slice: Slice
  readonly releaseStaging?: () => void
}

const EXISTED: WriteResultItem = { existed: true }

/**
 * Serves WriteRemoteData: this node makes room, READs the objects out of the caller's memory and commits
 * them.
 */
export class RemoteWriter {
  readonly #backend: TieredBackend
  readonly #submitter: TransferSubmitter
  readonly #staging: StagingPool
  readonly #committer: Committer
  readonly #writes: WritesInFlight
  readonly #unannounced: Unannounced
  readonly #nodeId: string

  constructor(init: {
    readonly backend: TieredBackend
    readonly submitter: TransferSubmitter
    readonly staging: StagingPool
    readonly committer: Committer
    readonly writes: WritesInFlight
    readonly unannounced: Unannounced
    readonly nodeId: string
  }) {
    this.#backend = init.backend
    this.#submitter = init.submitter
    this.#staging = init.staging
    this.#committer = init.committer
    this.#writes = init.writes
    this.#unannounced = init.unannounced
    this.#nodeId = init.nodeId
  }

  /**
   * One result per item, in order. Items that find room at once go as one batch; those that wait for it do
   * not hold up the others.
   */
  async serve(request: WriteRequest, signal: AbortSignal): Promise<WriteResultItem[]> {
    const { leasedFor = this.#nodeId } = request
    if (leasedFor !== this.#nodeId) {
      throw new MooncakeError('ERR_LEASE_EXPIRED', 'The lease is for an earlier life of this node')
    }
    const results = new Array<WriteResultItem>(request.items.length)
    const ready: Target[] = []
    const waits: Promise<void>[] = []
    request.items.forEach((item, index) => {
      const later = (result: Promise<WriteResultItem>): void => {
        waits.push(
          result.catch(failure).then(value => {
            results[index] = value
          }),
        )
      }
      if (!request.upsert && this.#backend.has(item.key)) {
        results[index] = EXISTED
        const answered = this.#unannounced.answered([item], signal)
        if (answered != null) later(answered.then(() => EXISTED))
        return
      }
      if (request.leasedFor != null && this.#committer.isTooOld(item.generation)) {
        results[index] = failure(leaseExpired()) // Before its bytes are moved, and not only when they have come.
        return
      }
      const earlier = request.upsert ? undefined : this.#writes.earlier(item.key)
      const now = earlier == null ? this.#reserveNow(index, item) : undefined
      if (now != null) ready.push(now)
      else later(this.#writeLater(request, index, item, earlier, signal))
    })
    const pulled = this.#pull(ready, request, signal)
    waits.push(
      pulled.then(outcomes => {
        ready.forEach(({ index }, position) => {
          results[index] = outcomes[position]!
        })
      }),
    )
    await Promise.all(waits)
    return results
  }

  #reserveNow(index: number, item: WriteItemSpec): Target | undefined {
    if (capacityOf(item.parts) !== item.byteLength) return undefined // The slow path says what is wrong.
    const reservation = this.#backend.reserveNow(item.byteLength)
    if (reservation == null) return undefined
    if (reservation.slice != null) return { index, item, reservation, slice: reservation.slice }
    reservation.abandon()
    return undefined
  }

  async #writeLater(
    request: WriteRequest,
    index: number,
    item: WriteItemSpec,
    earlier: Promise<unknown> | undefined,
    signal: AbortSignal,
  ): Promise<WriteResultItem> {
    if (capacityOf(item.parts) !== item.byteLength) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `items/${index}/parts: lengths do not add up to ${item.byteLength} bytes`,
      )
    }
    if (earlier != null) {
      await earlier.catch(() => {})
      if (this.#backend.has(item.key)) {
        await this.#unannounced.answered([item], signal) // The earlier write may have failed, and this be another.
        return EXISTED
      }
    }
    const reservation = await this.#backend.reserve(item.byteLength, { deadlineMs: request.waitMs, signal })
    const target = await this.#targetOf(index, item, reservation, signal)
    return (await this.#pull([target], request, signal))[0]!
  }

  async #targetOf(
    index: number,
    item: WriteItemSpec,
    reservation: Reservation,
    signal: AbortSignal,
  ): Promise<Target> {
    if (reservation.slice != null) return { index, item, reservation, slice: reservation.slice }
    try {
      const { slice, release } = await this.#staging.acquire(item.byteLength, signal)
      return { index, item, reservation, slice, releaseStaging: release }
    } catch (error) {
      reservation.abandon()
      throw error
    }
  }

  /** One result for each target. Never rejects. */
  #pull(targets: readonly Target[], request: WriteRequest, signal: AbortSignal): Promise<WriteResultItem[]> {
    const results = this.#pullAndCommit(targets, request, signal)
    if (!request.upsert && targets.length > 0) {
      this.#writes.trackMany(
        targets.map(({ item }) => item.key),
        results,
      )
    }
    return results
  }

  /**
   * Moves the bytes of all targets, and commits together what has come: one message to the directory for a
   * batch, which costs three processes as much time as 200 KiB of payload.
   */
  async #pullAndCommit(
    targets: readonly Target[],
    request: WriteRequest,
    signal: AbortSignal,
  ): Promise<WriteResultItem[]> {
    const ops: SubmitOp[] = []
    const owners: number[] = []
    targets.forEach((target, position) => {
      addOps(ops, 'read', target.slice, target.item.parts, request.regions)
      while (owners.length < ops.length) owners.push(position)
    })
    const errors = new Array<Error | undefined>(targets.length)
    await this.#submitter.submit(ops, signal, (index, error) => {
      errors[owners[index]!] ??= error
    })
    const results = new Array<WriteResultItem>(targets.length)
    const whole: number[] = []
    for (const [position, target] of targets.entries()) {
      try {
        const error = errors[position]
        if (error != null) throw error
        if (target.releaseStaging != null) await this.#backend.fill(target.reservation, target.slice, signal)
        whole.push(position)
      } catch (error) {
        target.reservation.abandon()
        results[position] = failure(error)
      } finally {
        target.releaseStaging?.()
      }
    }
    // A caller that gave up while this loop stood still may have put the keys elsewhere, and removed them there: its
    // word is here by now, and is read in this turn.
    await nextTurn()
    const outcomes = await this.#commit(
      whole.map(position => targets[position]!),
      request,
      signal,
    )
    outcomes.forEach((outcome, i) => {
      results[whole[i]!] = outcome
    })
    return results
  }

  /** One result for each target, in order. */
  async #commit(
    targets: readonly Target[],
    request: WriteRequest,
    signal: AbortSignal,
  ): Promise<WriteResultItem[]> {
    if (signal.aborted) {
      for (const { reservation } of targets) reservation.abandon()
      return targets.map(() => failure(signal.reason))
    }
    const leased = request.leasedFor != null
    const mode = request.upsert ? 'upsert' : 'put'
    const commits = targets.map(({ reservation, item }) => ({ reservation, meta: metaOf(item, request) }))
    const outcomes = await this.#committer.commitMany(commits, mode, leased)
    return outcomes.map(({ existed, error }) => {
      const expired = existed && leased ? leaseExpired() : undefined
      const failed = error ?? expired
      return failed == null ? { existed } : failure(failed)
    })
  }
}

export function failure(error: unknown): WriteResultItem {
  const { code, message } = asMooncakeError(error)
  return { code, message, existed: false }
}
