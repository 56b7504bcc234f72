import { asMooncakeError, isRetryable } from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { valueOf } from './values.js'

/** What a client met while faults happened around it. */
export interface Met {
  gets: number
  puts: number
  misses: number
  /** Codes of failures that may be tried again. */
  readonly retryable: string[]
  /** Everything that must not be: wrong bytes, other failures, operations that outlived their deadline. */
  readonly wrong: string[]
}

export interface TrafficOptions {
  readonly keys: readonly string[]
  readonly byteLength: number
  readonly deadlineMs: number
  /** Loops that get and put at the same time. */
  readonly concurrency: number
  readonly batch: number
  readonly replicaNum: number
}

/** How long an operation may take beyond its deadline, on a machine that is busy with everything else. */
const SLACK_MS = 3000

/** Gets and puts batches in loops until it is stopped, and looks at every byte and every end. */
export class Traffic {
  readonly met: Met = { gets: 0, puts: 0, misses: 0, retryable: [], wrong: [] }
  readonly #store: Store
  readonly #options: TrafficOptions
  readonly #loops: Promise<void[]>
  #stopped = false
  #next = 0

  constructor(store: Store, options: TrafficOptions) {
    this.#store = store
    this.#options = options
    this.#loops = Promise.all(Array.from({ length: options.concurrency }, (_, index) => this.#loop(index)))
  }

  async stop(): Promise<Met> {
    this.#stopped = true
    await this.#loops
    return this.met
  }

  async #loop(index: number): Promise<void> {
    while (!this.#stopped) {
      const begun = performance.now()
      await (index % 2 === 0 ? this.#get() : this.#put())
      const tookMs = performance.now() - begun
      if (tookMs > this.#options.deadlineMs + SLACK_MS) this.met.wrong.push(`took ${Math.round(tookMs)} ms`)
    }
  }

  async #get(): Promise<void> {
    const { keys, batch, byteLength, deadlineMs } = this.#options
    const some = Array.from({ length: batch }, () => keys[this.#next++ % keys.length]!)
    const into = some.map(() => new Uint8Array(byteLength))
    const transfer = this.#store.getMany(some, { into, deadlineMs })
    transfer.completions$.subscribe({
      next: ({ index, bytes, error }) => {
        this.met.gets++
        if (error != null) this.#fail(error)
        else if (bytes !== byteLength || !valueOf(some[index]!, byteLength).equals(into[index]!))
          this.met.wrong.push(`wrong bytes of ${some[index]}`)
      },
      error: () => {},
    })
    await transfer.done.catch((error: unknown) => {
      this.#fail(error)
    })
  }

  async #put(): Promise<void> {
    const { batch, byteLength, deadlineMs, replicaNum } = this.#options
    const entries = Array.from({ length: batch }, () => {
      const key = `traffic/${this.#next++}`
      return { key, value: valueOf(key, byteLength) }
    })
    const transfer = this.#store.putMany(entries, { deadlineMs, replicate: { replicaNum } })
    transfer.completions$.subscribe({
      next: ({ error }) => {
        this.met.puts++
        if (error != null) this.#fail(error)
      },
      error: () => {},
    })
    await transfer.done.catch((error: unknown) => {
      this.#fail(error)
    })
  }

  #fail(error: unknown): void {
    const { code, message } = asMooncakeError(error)
    if (code === 'ERR_OBJECT_NOT_FOUND') this.met.misses++
    else if (isRetryable(error)) this.met.retryable.push(code)
    else this.met.wrong.push(`${code}: ${message}`)
  }
}
