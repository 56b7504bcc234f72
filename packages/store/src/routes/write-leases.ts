import type { Clock, Directory, WriteCandidate, WriteLease } from '@mooncake-ts/core'
import { INLINE_BYTES_MAX } from '../peers/protocol.js'

/** Numbers of one lease. */
const LEASE_KEYS = 1024
const CANDIDATES_MAX = 8
/** Candidates that are older say little about who has space. */
const LEASE_MS = 1000

export interface LeasedPut {
  readonly candidate: WriteCandidate
  /** There is no other node to go to. */
  readonly isOnly: boolean
  readonly firstGeneration: number
}

/**
 * Leave to put objects without asking for a route each time: the directory is asked ahead, while puts
 * follow each other, and not at all by a node that does not write.
 */
export class WriteLeases {
  readonly #directory: Directory
  readonly #clock: Clock
  #lease: (WriteLease & { readonly untilMs: number }) | undefined
  #used = 0
  #asking = false

  constructor(directory: Directory, clock: Clock) {
    this.#directory = directory
    this.#clock = clock
  }

  /** For as many puts, to one node. Undefined where there is no lease just now; then one is asked for. */
  take(count: number, isSuspect: (nodeId: string) => boolean): LeasedPut | undefined {
    const lease = this.#lease
    const nowMs = this.#clock.nowMs()
    const left = lease == null || lease.untilMs <= nowMs ? 0 : LEASE_KEYS - this.#used
    if (left < LEASE_KEYS / 2 || lease!.untilMs - nowMs < LEASE_MS / 2) this.#ask()
    if (lease == null || left < count) return undefined
    const candidate = betterOfTwo(lease.candidates.filter(({ nodeId }) => !isSuspect(nodeId)))
    if (candidate == null) return undefined
    const firstGeneration = lease.firstGeneration + this.#used
    this.#used += count
    return { candidate, firstGeneration, isOnly: lease.candidates.length === 1 }
  }

  /** An owner refused a number. */
  drop(): void {
    this.#lease = undefined
  }

  #ask(): void {
    const { leaseWrites } = this.#directory
    if (this.#asking || leaseWrites == null || this.#directory.state === 'away') return
    this.#asking = true
    const untilMs = this.#clock.nowMs() + LEASE_MS
    const request = { count: LEASE_KEYS, byteLengthMax: INLINE_BYTES_MAX, candidatesMax: CANDIDATES_MAX }
    leaseWrites
      .call(this.#directory, request)
      .then(
        lease => {
          this.#lease = { ...lease, untilMs }
          this.#used = 0
        },
        () => {}, // Puts ask for routes, and are told what is wrong.
      )
      .finally(() => {
        this.#asking = false
      })
  }
}

/** Equal nodes share the load, better ones get more: the way in which the directory draws them. */
function betterOfTwo(candidates: readonly WriteCandidate[]): WriteCandidate | undefined {
  const draw = (): WriteCandidate | undefined => candidates[Math.floor(Math.random() * candidates.length)]
  const [one, other] = [draw(), draw()]
  return one == null || (other != null && other.score > one.score) ? other : one
}
