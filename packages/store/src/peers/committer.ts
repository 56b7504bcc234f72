import {
  asMooncakeError,
  MooncakeError,
  type GenerationClock,
  type ReplicaAdd,
  type Tier,
} from '@mooncake-ts/core'
import type { KeyLocks } from '../local/key-locks.js'
import type { ObjectMeta, Reservation, TieredBackend } from '../local/tiered-backend.js'
import { AddBatch } from '../routes/add-batch.js'
import type { RouteNotifier } from '../routes/route-notifier.js'
import type { Unannounced } from './unannounced.js'

export type WriteMode = 'put' | 'upsert'

/** Bytes that are whole, and the name that they are to have. */
export interface Commit {
  readonly reservation: Reservation
  readonly meta: ObjectMeta
}

export interface CommitOutcome {
  /** Another value of the key stays, or has taken its place. */
  readonly existed: boolean
  readonly error?: Error
}

const COMMITTED: CommitOutcome = Object.freeze({ existed: false })
const EXISTED: CommitOutcome = Object.freeze({ existed: true })

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
  readonly #segments = new Map<Tier, string>()
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

  /** Whether a leased number is too old, as far as is known now; see `commitMany`. */
  isTooOld(generation: number): boolean {
    return generation <= this.#goneGeneration
  }

  /** One object; see `commitMany`. True where it `existed`. @throws the error of its outcome */
  async commit(
    reservation: Reservation,
    meta: ObjectMeta,
    mode: WriteMode,
    leased = false,
  ): Promise<boolean> {
    const [outcome] = await this.commitMany([{ reservation, meta }], mode, leased)
    if (outcome!.error != null) throw outcome!.error
    return outcome!.existed
  }

  /**
   * Settles when other nodes can find the objects: one outcome for each, in order. Those in memory are current
   * at once, and are announced together, so that there is no promise for each.
   *
   * Orders to drop an object carry its generation, and may still be on their way when it has gone. One with a
   * leased number could be younger and have a smaller one: the order would hit it. So a leased number has to
   * be above that of every object that has gone from here: else ERR_LEASE_EXPIRED.
   */
  async commitMany(commits: readonly Commit[], mode: WriteMode, leased = false): Promise<CommitOutcome[]> {
    const outcomes = new Array<CommitOutcome>(commits.length).fill(COMMITTED)
    const batch = new AddBatch()
    const adds = new Array<ReplicaAdd | undefined>(commits.length)
    const installed: string[] = []
    const waits: Promise<void>[] = []
    commits.forEach((commit, position) => {
      const { key } = commit.meta
      if (this.#locks.isHeld(key) || !this.#backend.commitsNow(commit.reservation)) {
        waits.push(
          this.#commitSlowly(commit, mode, leased).then(outcome => {
            outcomes[position] = outcome
          }),
        )
        return
      }
      try {
        adds[position] = this.#commitNow(commit, mode, leased, batch)
        if (adds[position] != null) installed.push(key)
        else {
          // The value that is here may have to go.
          outcomes[position] = EXISTED
          const answered = this.#unannounced.answered([commit.meta])
          if (answered != null) waits.push(answered)
        }
      } catch (error) {
        outcomes[position] = { existed: false, error: asMooncakeError(error) }
      }
    })
    batch.close()
    const answered = this.#dropRefused(batch)
    if (mode === 'put' && installed.length > 0) this.#unannounced.track(installed, answered)
    await answered
    if (batch.refused.length > 0) {
      const refused = new Set<ReplicaAdd | undefined>(batch.refused)
      adds.forEach((add, position) => {
        if (refused.has(add)) outcomes[position] = EXISTED
      })
    }
    await Promise.all(waits)
    return outcomes
  }

  /** What the directory is told; undefined where another value stays. @throws what makes it impossible */
  #commitNow(commit: Commit, mode: WriteMode, leased: boolean, batch: AddBatch): ReplicaAdd | undefined {
    const { reservation, meta } = commit
    this.#generations.observe(meta.generation)
    this.#checkLease(commit, leased)
    if (this.#backend.commitNow(reservation, meta, mode) !== 'committed') return undefined
    const add = this.#addOf(commit, mode)
    this.#notifier.addTo(batch, add)
    return add
  }

  /** For tiers that have to be asked. Never rejects. */
  async #commitSlowly(commit: Commit, mode: WriteMode, leased: boolean): Promise<CommitOutcome> {
    const { reservation, meta } = commit
    const batch = new AddBatch()
    this.#generations.observe(meta.generation)
    let answered: Promise<void> | undefined
    const installed = (): void => {
      this.#notifier.addTo(batch, this.#addOf(commit, mode))
      batch.close()
      answered = this.#dropRefused(batch)
      if (mode === 'put') this.#unannounced.track([meta.key], answered)
    }
    try {
      await this.#locks.lock(meta.key, () => {
        this.#checkLease(commit, leased)
        return this.#backend.commit(reservation, meta, mode, installed)
      })
    } catch (error) {
      return { existed: false, error: asMooncakeError(error) }
    }
    await (answered ?? this.#unannounced.answered([meta]))
    return answered == null || batch.refused.length > 0 ? EXISTED : COMMITTED
  }

  /** @throws ERR_LEASE_EXPIRED; then the reservation is abandoned */
  #checkLease({ reservation, meta }: Commit, leased: boolean): void {
    if (!leased || !this.isTooOld(meta.generation)) return
    reservation.abandon()
    throw new MooncakeError('ERR_LEASE_EXPIRED', 'Younger objects than the lease have left this node')
  }

  #addOf({ reservation, meta }: Commit, mode: WriteMode): ReplicaAdd {
    const { key, byteLength, generation } = meta
    const segment = this.#segmentOf(reservation.holding.tier)
    return { key, byteLength, generation, segment, ifAbsent: mode === 'put' }
  }

  #segmentOf(tier: Tier): string {
    let segment = this.#segments.get(tier)
    if (segment == null) this.#segments.set(tier, (segment = `${this.#nodeName}/${tier.name}`))
    return segment
  }

  /** Settles when the directory has answered, and what it does not want is gone from here. */
  async #dropRefused(batch: AddBatch): Promise<void> {
    await batch.answered
    for (const { key, generation } of batch.refused) this.#backend.remove(key, generation, 'replaced')
    for (const { key, generation } of batch.accepted) this.#onKnown(key, generation)
  }
}
