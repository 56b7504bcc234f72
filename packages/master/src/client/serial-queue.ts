import { MooncakeError } from '@mooncake-ts/core'

/** Runs tasks one after the other, in the order of `run`. A task that fails does not stop the next one. */
export class SerialQueue {
  readonly #tasksMax: number
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(tasksMax: number) {
    this.#tasksMax = tasksMax
  }

  /** @throws ERR_OVERLOADED, or what the task throws */
  run<T>(task: () => Promise<T> | T): Promise<T> {
    if (this.#waiting >= this.#tasksMax) {
      const message = `${this.#tasksMax} reports to the master wait already`
      return Promise.reject(new MooncakeError('ERR_OVERLOADED', message))
    }
    this.#waiting++
    const result = this.#tail.then(() => {
      this.#waiting--
      return task()
    })
    this.#tail = result.catch(() => {})
    return result
  }
}
