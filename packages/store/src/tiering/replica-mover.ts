import type { InUse } from '../local/in-use.js'
import type { ObjectTable, Replica } from '../local/object-table.js'
import type { Reservation } from '../local/reservation.js'
import type { TierIo } from '../local/tier-io.js'
import type { Holding } from '../local/holding.js'

export interface ReplicaMoverInit {
  readonly table: ObjectTable
  readonly io: TierIo
  readonly inUse: InUse
  /** The object has another replica, in this place. */
  readonly onCopied: (replica: Replica, holding: Holding) => void
  /** A replica that was held for a copy can be evicted again. */
  readonly onEvictable: () => void
}

/**
 * Copies replicas from one tier of this node to another, while they are read, replaced or removed. The source
 * is not evicted meanwhile; the copy counts only if its object is still current when it is whole.
 */
export class ReplicaMover {
  readonly #init: ReplicaMoverInit

  constructor(init: ReplicaMoverInit) {
    this.#init = init
  }

  /**
   * Takes the reservation over. True where the object has the copy now, and `andThen` has run in the same
   * step; false where the object was replaced or removed meanwhile. Settles, also on abort, when neither
   * place is touched any more.
   *
   * @throws what the tiers throw, the signal's reason; then nothing has changed
   */
  async copy(
    source: Replica,
    reservation: Reservation,
    signal: AbortSignal,
    andThen: () => void = () => {},
  ): Promise<boolean> {
    const { table, inUse, onEvictable } = this.#init
    table.beginCopy(source)
    source.holding.retain()
    inUse.enter()
    try {
      return await this.#fillAndInstall(source, reservation, signal, andThen)
    } finally {
      reservation.abandon()
      source.holding.release()
      if (table.endRead(source)) onEvictable()
      inUse.leave()
    }
  }

  async #fillAndInstall(
    source: Replica,
    reservation: Reservation,
    signal: AbortSignal,
    andThen: () => void,
  ): Promise<boolean> {
    const { io, inUse, onCopied } = this.#init
    const { object } = source
    await io.copy(source.holding, object, reservation.holding, signal)
    if (!this.#isWanted(source, reservation)) return false
    signal.throwIfAborted()
    const holding = reservation.take()
    let owned = false
    try {
      await holding.tier.commit?.(holding.allocation, object)
      if (!this.#isWanted(source, reservation)) return false
      onCopied(source, holding)
      owned = true
      andThen() // Not after an await: a racing upsert may release the source.
      return true
    } finally {
      if (!owned) holding.release()
      inUse.leave()
    }
  }

  /** The object is current, and nobody has put another replica of it where this one goes. */
  #isWanted({ object }: Replica, { holding: { tier } }: Reservation): boolean {
    return (
      this.#init.table.get(object.key) === object &&
      object.replicas.every(({ holding }) => holding.tier !== tier)
    )
  }
}
