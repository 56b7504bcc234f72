import { asMooncakeError, KIB, MIB, type CopyOp, type CopyPool, type MooncakeError } from '@mooncake-ts/core'

/** One copy, from the moment it is asked for until nothing touches its memory. */
export interface CopyTask {
  /** Whom it belongs to, for taking it back. */
  readonly owner: object
  readonly byteLength: number
  /** Asked just before the copy. @throws what makes it impossible */
  begin(): CopyOp
  /** At rest. */
  end(error?: MooncakeError): void
  /** It has not begun, and will not. */
  takenBack(): void
}

export interface CopierOptions {
  readonly copyRunBytes: number
  readonly inlineCopyBytes: number
}

/** So that the threads have work while the event loop looks at what has ended. */
const RUNS_MAX = 2
/** Operations of one run. */
const RUN_OPS_MAX = 1024
/** Bytes copied on this thread, after which the event loop turns … */
const TURN_BYTES_MAX = 8 * MIB
/** … and what a run counts for at least: else a caller that waits for nothing but copies would have it for itself. */
const RUN_BYTES_MIN = 128 * KIB

/**
 * Copies first come, first served, in runs that are small enough for an abort or a revoke to come in between.
 */
export class Copier {
  readonly #pool: CopyPool
  readonly #runBytes: number
  /** Of runs that the pool copies on this thread. */
  readonly #inlineBytesMax: number
  #queue: CopyTask[] = []
  #head = 0
  #runs = 0
  #pumping = false
  /** Copied on this thread since the event loop was made to turn. */
  #turnBytes = 0
  readonly #idle: Array<() => void> = []

  constructor(pool: CopyPool, { copyRunBytes, inlineCopyBytes }: CopierOptions) {
    this.#pool = pool
    this.#runBytes = copyRunBytes
    this.#inlineBytesMax = inlineCopyBytes
  }

  get queued(): number {
    return this.#queue.length - this.#head
  }

  /** Nothing begins before `pump`, so that what comes together is copied together. */
  add(task: CopyTask): void {
    this.#queue.push(task)
  }

  pump(): void {
    if (this.#pumping) return // An ended task adds more: the loop below goes on.
    this.#pumping = true
    while (this.#runs < RUNS_MAX && this.queued > 0) this.#run(this.#takeRun())
    this.#pumping = false
    if (this.#runs === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** Forgets those tasks of an owner that have not begun. */
  takeBack(isOwner: (owner: object) => boolean): void {
    const waiting = this.#queue.slice(this.#head)
    this.#queue = waiting.filter(task => !isOwner(task.owner))
    this.#head = 0
    for (const task of waiting) if (isOwner(task.owner)) task.takenBack()
  }

  /** Settles when nothing is copied and nothing waits. */
  idle(): Promise<void> {
    if (this.#runs === 0 && this.queued === 0) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #takeRun(): CopyTask[] {
    const begin = this.#head
    let bytes = 0
    while (this.#head < this.#queue.length && this.#head - begin < RUN_OPS_MAX) {
      const { byteLength } = this.#queue[this.#head]!
      if (bytes > 0 && bytes + byteLength > this.#runBytes) break
      bytes += byteLength
      this.#head++
    }
    const tasks = this.#queue.slice(begin, this.#head)
    if (this.#head === this.#queue.length || this.#head > RUN_OPS_MAX) {
      this.#queue = this.#queue.slice(this.#head)
      this.#head = 0
    }
    return tasks
  }

  #run(tasks: readonly CopyTask[]): void {
    const begun: CopyTask[] = []
    const batch: CopyOp[] = []
    for (const task of tasks) {
      try {
        batch.push(task.begin())
        begun.push(task)
      } catch (error) {
        task.end(asMooncakeError(error))
      }
    }
    if (batch.length === 0) return
    this.#runs++
    const turns = this.#isTurnOver(batch)
    const end = (error?: MooncakeError): void => {
      if (turns) setImmediate(ended, error)
      else ended(error)
    }
    const ended = (error?: MooncakeError): void => {
      this.#runs--
      this.#pumping = true // What the tasks add is copied together, and after what waits already.
      for (const task of begun) task.end(error)
      this.#pumping = false
      this.pump()
    }
    this.#pool.copy(batch).then(
      () => {
        end()
      },
      (error: unknown) => {
        end(asMooncakeError(error))
      },
    )
  }

  /** Others are to have their turn after this run. */
  #isTurnOver(batch: readonly CopyOp[]): boolean {
    let bytes = 0
    for (const { to } of batch) bytes += to.byteLength
    if (bytes > this.#inlineBytesMax) return false // It waits for threads anyway.
    this.#turnBytes += Math.max(bytes, RUN_BYTES_MIN)
    if (this.#turnBytes < TURN_BYTES_MAX) return false
    this.#turnBytes = 0
    return true
  }
}
