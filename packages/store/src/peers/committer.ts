import type { KeyLocks } from '../local/key-locks.js'
import type { ObjectMeta, Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { GenerationClock } from '@mooncake-ts/core'
import type { RouteNotifier } from '../routes/route-notifier.js'

export type WriteMode = 'put' | 'upsert'

/**
 * The last step of every write on this node: make it current, tell the directory, and give it up again where
 * the directory says no.
 */
export class Committer {
  readonly #backend: TieredBackend
  readonly #notifier: RouteNotifier
  readonly #locks: KeyLocks
  readonly #generations: GenerationClock
  readonly #nodeName: string

  constructor(init: {
    readonly backend: TieredBackend
    readonly notifier: RouteNotifier
    readonly locks: KeyLocks
    readonly generations: GenerationClock
    readonly nodeName: string
  }) {
    this.#backend = init.backend
    this.#notifier = init.notifier
    this.#locks = init.locks
    this.#generations = init.generations
    this.#nodeName = init.nodeName
  }

  /**
   * Settles when other nodes can find the object. True where another value of the key stays or has taken its
   * place.
   */
  async commit(reservation: Reservation, meta: ObjectMeta, mode: WriteMode): Promise<boolean> {
    this.#generations.observe(meta.generation)
    const { name } = reservation.holding.tier
    const outcome = await this.#locks.lock(meta.key, () => this.#backend.commit(reservation, meta, mode))
    const { key, byteLength, generation } = meta
    // Evicted or removed since: announced now, it would be found where it is not.
    if (outcome !== 'committed' || this.#backend.peek(key)?.generation !== generation) return true
    const told = await this.#notifier.add({
      key,
      byteLength,
      generation,
      segment: `${this.#nodeName}/${name}`,
    })
    if (told === 'ok') return false
    this.#backend.remove(key, generation, 'replaced')
    return true
  }
}
