import type { ReplicaAdd, ReplicaAddResult } from '@mooncake-ts/core'

/** Replicas whose announcement somebody waits for together: one promise, however many there are. */
export class AddBatch {
  /** Settles when the directory has answered for all of them, or cannot be told for now. */
  readonly answered: Promise<void>
  readonly accepted: ReplicaAdd[] = []
  /** Those that it does not want. */
  readonly refused: ReplicaAdd[] = []
  #open = 1
  #resolve!: () => void

  constructor() {
    this.answered = new Promise(resolve => {
      this.#resolve = resolve
    })
  }

  /** One more to wait for. */
  expect(): void {
    this.#open++
  }

  settle(add: ReplicaAdd, result: ReplicaAddResult): void {
    if (result === 'ok') this.accepted.push(add)
    else this.refused.push(add)
    this.#countDown()
  }

  /** No more come. */
  close(): void {
    this.#countDown()
  }

  #countDown(): void {
    if (--this.#open === 0) this.#resolve()
  }
}
