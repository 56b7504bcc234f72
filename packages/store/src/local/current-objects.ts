import { MooncakeError } from '@mooncake-ts/core'
import type { ObjectIdentity, TierAllocation } from '@mooncake-ts/core'
import type { BackendEvents, RemoveReason } from './backend-init.js'
import type { Holding } from './holding.js'
import type { InUse } from './in-use.js'
import type { ObjectMeta, ObjectTable, Replica, StoredObject } from './object-table.js'
import type { Reservation } from './reservation.js'
import type { TierSpace } from './tier-space.js'

export type CommitResult = 'committed' | 'exists' | 'stale'

export interface CurrentObjectsInit {
  readonly table: ObjectTable
  readonly inUse: InUse
  readonly events: BackendEvents
  /** A put or an upsert of this key was committed. */
  readonly onStored: (key: string) => void
  /** There is one replica more that can be evicted. */
  readonly onEvictable: () => void
}

/**
 * Every way in which bytes become an object's, and stop to be: keeps the table, the holds on the bytes and what
 * others are told of in step.
 */
export class CurrentObjects {
  readonly #table: ObjectTable
  readonly #inUse: InUse
  readonly #events: BackendEvents
  readonly #onStored: (key: string) => void
  readonly #onEvictable: () => void

  constructor(init: CurrentObjectsInit) {
    this.#table = init.table
    this.#inUse = init.inUse
    this.#events = init.events
    this.#onStored = init.onStored
    this.#onEvictable = init.onEvictable
  }

  /** See `TieredBackend.commit`. */
  async commit(
    reservation: Reservation,
    meta: ObjectMeta,
    mode: 'put' | 'upsert',
    installed: () => void,
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

  /** See `TieredBackend.commitNow`. */
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

  /** See `TieredBackend.remove`. */
  remove(key: string, generationMax: number, reason: RemoveReason): boolean {
    const object = this.#table.get(key)
    if (object == null || object.generation > generationMax) return false
    this.#table.delete(object)
    this.#releaseAll(object.replicas, reason)
    return true
  }

  /** What a tier kept of an earlier life. False where there is something newer, or the same in that tier. */
  adopt(space: TierSpace, identity: ObjectIdentity, allocation: TierAllocation): boolean {
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
      this.addReplica(current, holding)
      return true
    }
    holding.release()
    return false
  }

  /** The object is in one more tier. */
  addReplica(object: StoredObject, holding: Holding): void {
    this.#table.addReplica(object, holding)
    this.#events.copied(object, holding.tier)
    this.#onEvictable()
  }

  /** The one way in which a replica leaves the table alone. */
  drop(replica: Replica, reason: RemoveReason): void {
    this.#table.deleteReplica(replica, reason === 'evicted' || reason === 'demoted')
    this.#releaseAll([replica], reason)
  }

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
    this.#onStored(meta.key)
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
    this.#onEvictable()
  }

  /** For replicas that have left the table. */
  #releaseAll(replicas: readonly Replica[], reason: RemoveReason): void {
    for (const { object, holding } of replicas) {
      this.#events.removed(object, holding.tier, reason) // Before its bytes can be anything else.
      holding.release()
    }
  }
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
