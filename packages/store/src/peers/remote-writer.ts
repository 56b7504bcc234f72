import { asMooncakeError, MooncakeError, type Slice } from '@mooncake-ts/core'
import type { Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { StagingPool } from '../local/staging-pool.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'
import type { Committer } from './committer.js'
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

  constructor(init: {
    readonly backend: TieredBackend
    readonly submitter: TransferSubmitter
    readonly staging: StagingPool
    readonly committer: Committer
    readonly writes: WritesInFlight
    readonly unannounced: Unannounced
  }) {
    this.#backend = init.backend
    this.#submitter = init.submitter
    this.#staging = init.staging
    this.#committer = init.committer
    this.#writes = init.writes
    this.#unannounced = init.unannounced
  }

  /**
   * One result per item, in order. Items that find room at once go as one batch; those that wait for it do
   * not hold up the others.
   */
  async serve(request: WriteRequest, signal: AbortSignal): Promise<WriteResultItem[]> {
    const results = new Array<Promise<WriteResultItem> | WriteResultItem>(request.items.length)
    const ready: Target[] = []
    request.items.forEach((item, index) => {
      if (!request.upsert && this.#backend.has(item.key)) {
        results[index] = this.#unannounced.answered([item], signal)?.then(() => EXISTED) ?? EXISTED
        return
      }
      const earlier = request.upsert ? undefined : this.#writes.earlier(item.key)
      const now = earlier == null ? this.#reserveNow(index, item) : undefined
      if (now != null) ready.push(now)
      else results[index] = this.#writeLater(request, index, item, earlier, signal)
    })
    this.#pull(ready, request, signal).forEach((result, position) => {
      results[ready[position]!.index] = result
    })
    return await Promise.all(results.map(result => Promise.resolve(result).catch(failure)))
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
      if (this.#backend.has(item.key)) return EXISTED
    }
    const reservation = await this.#backend.reserve(item.byteLength, { deadlineMs: request.waitMs, signal })
    const target = await this.#targetOf(index, item, reservation, signal)
    return await this.#pull([target], request, signal)[0]!
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

  /** Moves the bytes of all targets as one batch; each is committed as soon as its own have come. */
  #pull(targets: readonly Target[], request: WriteRequest, signal: AbortSignal): Promise<WriteResultItem>[] {
    const ops: SubmitOp[] = []
    const owners: number[] = []
    const arrivals = targets.map((target, position) => {
      const before = ops.length
      addOps(ops, 'read', target.slice, target.item.parts, request.regions)
      for (let i = before; i < ops.length; i++) owners.push(position)
      return new Arrival(ops.length - before)
    })
    const moved = this.#submitter.submit(ops, signal, (index, error) => {
      arrivals[owners[index]!]!.end(error)
    })
    void moved
    return targets.map((target, position) => {
      const write = arrivals[position]!.done.then(error => this.#finish(target, request, error, signal))
      return request.upsert ? write : this.#writes.track(target.item.key, write)
    })
  }

  async #finish(
    target: Target,
    terms: WriteTerms,
    error: Error | undefined,
    signal: AbortSignal,
  ): Promise<WriteResultItem> {
    const { item, reservation, slice, releaseStaging } = target
    try {
      if (error != null) throw error
      if (releaseStaging != null) await this.#backend.fill(reservation, slice, signal)
    } catch (cause) {
      reservation.abandon()
      throw cause
    } finally {
      releaseStaging?.()
    }
    const mode = terms.upsert ? 'upsert' : 'put'
    return { existed: await this.#committer.commit(reservation, metaOf(item, terms), mode) }
  }
}

/** Settles, with the first error, when a number of operations have all ended. */
class Arrival {
  readonly done: Promise<Error | undefined>
  #left: number
  #error: Error | undefined
  #settle!: (error: Error | undefined) => void

  constructor(count: number) {
    this.#left = count
    this.done = new Promise(settle => {
      this.#settle = settle
    })
    if (count === 0) this.#settle(undefined)
  }

  end(error: Error | undefined): void {
    this.#error ??= error
    if (--this.#left === 0) this.#settle(this.#error)
  }
}

export function failure(error: unknown): WriteResultItem {
  const { code, message } = asMooncakeError(error)
  return { code, message, existed: false }
}
