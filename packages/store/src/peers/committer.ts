import { MooncakeError, type GenerationClock } from '@mooncake-ts/core'
import type { KeyLocks } from '../local/key-locks.js'
import type { ObjectMeta, Reservation, TieredBackend } from '../local/tiered-backend.js'
import type { RouteNotifier } from '../routes/route-notifier.js'
import type { Unannounced } from './unannounced.js'

export type WriteMode = 'put' | 'upsert'

/**
 * The last step of every write on this node: make it current, tell the directory, and give it up again where
 * the directory says no.
 */
export class Committer {
  readonly #backend: TieredBackend
  readonly #notifier: RouteNotifier
  readonly #unannounced: Unannounced
  readonly #locks: KeyLocks
  readonly #generations: GenerationClock
  readonly #nodeName: string
  readonly #onKnown: (key: string, generation: number) => void
  /** Of every object that has left this node. */
  #goneGeneration = 0

  constructor(init: {
    readonly backend: TieredBackend
    readonly notifier: RouteNotifier
    readonly unannounced: Unannounced
    readonly locks: KeyLocks
    readonly generations: GenerationClock
    readonly nodeName: string
    /** The directory knows the object, and anybody may read it. */
    readonly onKnown: (key: string, generation: number) => void
  }) {
    this.#backend = init.backend
    this.#notifier = init.notifier
    this.#unannounced = init.unannounced
    this.#locks = init.locks
    this.#generations = init.generations
    this.#nodeName = init.nodeName
    this.#onKnown = init.onKnown
  }

  /** An object has left this node. */
  gone(generation: number): void {
    if (generation > this.#goneGeneration) this.#goneGeneration = generation
  }

  /**
   * Settles when other nodes can find the object. True where another value of the key stays or has taken its
   * place.
   *
   * Orders to drop an object carry its generation, and may still be on their way when it has gone. One with a
   * leased number could be younger and have a smaller one: the order would hit it. So a leased number has to
   * be above that of every object that has gone from here.
   *
   * @throws ERR_LEASE_EXPIRED
   */
  async commit(
    reservation: Reservation,
    meta: ObjectMeta,
    mode: WriteMode,
    leased = false,
  ): Promise<boolean> {
    this.#generations.observe(meta.generation)
    const segment = `${this.#nodeName}/${reservation.holding.tier.name}`
    let answer: Promise<boolean> | undefined
    const installed = (): void => {
      answer = this.#announce(meta, segment, mode === 'put')
    }
    await this.#locks.lock(meta.key, () => {
      if (leased && meta.generation <= this.#goneGeneration) {
        reservation.abandon()
        throw new MooncakeError('ERR_LEASE_EXPIRED', 'Younger objects than the lease have left this node')
      }
      return this.#backend.commit(reservation, meta, mode, installed)
    })
    if (answer != null) return await answer
    await this.#unannounced.answered([meta]) // The value that is here may have to go.
    return true
  }

  async #announce(meta: ObjectMeta, segment: string, ifAbsent: boolean): Promise<boolean> {
    const { key, byteLength, generation } = meta
    const told = this.#notifier.add({ key, byteLength, generation, segment, ifAbsent })
    const refused = told.then(result => {
      if (result === 'ok') this.#onKnown(key, generation)
      else this.#backend.remove(key, generation, 'replaced')
      return result !== 'ok'
    })
    if (ifAbsent) this.#unannounced.track(key, refused)
    return await refused
  }
}
