import { MooncakeError } from '../errors/error.js'

/** Something that may go in parts, and ends when the last of them does. The first error stands for all. */
export abstract class Parts {
  #left = 1
  #error: Error | undefined
  #takenBack = false

  /** From now on it ends with the last of `count` parts. */
  split(count: number): void {
    this.#left = count
  }

  /** Nothing touches the part any more. */
  settle(error?: Error): void {
    this.#error ??= error
    this.#countDown()
  }

  /** The part was taken back before it was whole. */
  takeBack(): void {
    this.#takenBack = true
    this.#countDown()
  }

  /** Called once; `takenBack` where a part was, and none failed. */
  protected abstract ended(error: Error | undefined, takenBack: boolean): void

  /** @throws ERR_INTERNAL where a part ends twice: it would end while others are in flight */
  #countDown(): void {
    if (this.#left === 0) throw new MooncakeError('ERR_INTERNAL', 'An operation of a batch has ended already')
    this.#left--
    if (this.#left === 0) this.ended(this.#error, this.#takenBack && this.#error == null)
  }
}
