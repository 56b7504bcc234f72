import type { Done } from './types.js'

// An operation's id is its index and how often the index was used before, so that a late `cancel` meets
// nothing.
const INDEX_LIMIT = 2 ** 20

/** The callbacks of the operations in flight, by native index. */
export class Operations {
  private readonly callbacks: (Done | undefined)[] = []
  private readonly uses: number[] = []

  /** Returns the operation's id. */
  begin(index: number, done: Done): number {
    if (index === this.callbacks.length) {
      this.callbacks.push(done)
      this.uses.push(0)
    } else {
      this.callbacks[index] = done
    }
    return (this.uses[index] as number) * INDEX_LIMIT + index
  }

  /** Takes the callback out; the index can be used again. */
  end(index: number): Done {
    const done = this.callbacks[index] as Done
    this.callbacks[index] = undefined
    this.uses[index] = (this.uses[index] as number) + 1
    return done
  }

  /** The index of an operation that is still in flight. */
  indexOf(id: number): number | undefined {
    const index = id % INDEX_LIMIT
    const current = this.callbacks[index] !== undefined && this.uses[index] === Math.floor(id / INDEX_LIMIT)
    return current ? index : undefined
  }
}
