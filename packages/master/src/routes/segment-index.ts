/** Not in use, or given up: its replicas do not count and are swept away. */
export const DEAD = 0
/** Its replicas are served. */
export const VISIBLE = 1
/** Its node is silent: replicas are kept and not served. */
export const HIDDEN = 2

type SegmentState = typeof DEAD | typeof VISIBLE | typeof HIDDEN

/**
 * Small numbers for segments, so that a route needs four bytes to name one. A segment that was given up keeps
 * its number until the last replica that names it is swept from the table.
 */
export class SegmentIndex {
  /** By segment number; read in the hottest loops, hence bare. */
  states = new Uint8Array(64)
  #owners = new Float64Array(64)
  #replicaCounts = new Uint32Array(64)
  #size = 0
  readonly #free: number[] = []
  readonly #dying = new Set<number>()

  /** @param owner number of the node's life; two segments of one life share it */
  allocate(owner: number): number {
    const segment = this.#free.pop() ?? this.#extend()
    this.states[segment] = VISIBLE
    this.#owners[segment] = owner
    return segment
  }

  setState(segment: number, state: SegmentState): void {
    this.states[segment] = state
    if (state === DEAD) this.#dying.add(segment)
  }

  owner(segment: number): number {
    return this.#owners[segment]!
  }

  replicaCount(segment: number): number {
    return this.#replicaCounts[segment]!
  }

  countReplica(segment: number, change: 1 | -1): void {
    this.#replicaCounts[segment]! += change
  }

  /** Whether a sweep has something to do. Frees the numbers of dead segments without replicas. */
  hasDying(): boolean {
    for (const segment of this.#dying) {
      if (this.#replicaCounts[segment] !== 0) continue
      this.#dying.delete(segment)
      this.#free.push(segment)
    }
    return this.#dying.size > 0
  }

  #extend(): number {
    if (this.#size === this.states.length) {
      this.states = grown(this.states, new Uint8Array(this.#size * 2))
      this.#owners = grown(this.#owners, new Float64Array(this.#size * 2))
      this.#replicaCounts = grown(this.#replicaCounts, new Uint32Array(this.#size * 2))
    }
    return this.#size++
  }
}

function grown<T extends { set(from: ArrayLike<number>): void }>(from: ArrayLike<number>, to: T): T {
  to.set(from)
  return to
}
