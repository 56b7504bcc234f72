import { MooncakeError } from '@mooncake-ts/core'
import { whenAborted } from '../local/when-aborted.js'

interface Waiting {
  readonly bytes: number
  admit(): void
}

/**
 * What may be in flight in this process, in bytes: first in, first out, so that a large request is not
 * starved by small ones. rxjs has no back-pressure; this is ours.
 */
export class Admission {
  readonly #bytesMax: number
  readonly #waitingMax: number
  readonly #queue: Waiting[] = []
  #bytes = 0

  constructor(limits: { readonly inflightBytesMax: number; readonly queuedOpsMax: number }) {
    this.#bytesMax = limits.inflightBytesMax
    this.#waitingMax = limits.queuedOpsMax
  }

  get inflightBytes(): number {
    return this.#bytes
  }

  get waiting(): number {
    return this.#queue.length
  }

  /**
   * Runs `post` when its bytes are let in.
   * @throws ERR_OVERLOADED, the signal's reason, what `post` throws
   */
  async run<T>(bytes: number, signal: AbortSignal, post: () => Promise<T>): Promise<T> {
    await this.enter(bytes, signal)
    try {
      return await post()
    } finally {
      this.leave(bytes)
    }
  }

  /** A single request larger than the limit is let in alone. @throws ERR_OVERLOADED, the signal's reason */
  async enter(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#queue.length === 0 && this.#fits(bytes)) {
      this.#bytes += bytes
      return
    }
    if (this.#queue.length >= this.#waitingMax) {
      throw new MooncakeError(
        'ERR_OVERLOADED',
        `More than ${this.#waitingMax} operations wait for their turn`,
      )
    }
    await this.#wait(bytes, signal)
  }

  leave(bytes: number): void {
    this.#bytes -= bytes
    while (this.#queue.length > 0 && this.#fits(this.#queue[0]!.bytes)) {
      const next = this.#queue.shift()!
      this.#bytes += next.bytes
      next.admit()
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax
  }

  #wait(bytes: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const ignoreAbort = whenAborted(signal, () => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1)
        reject(signal.reason as Error)
        this.leave(0) // The one behind may fit where this one did not.
      })
      const admit = (): void => {
        ignoreAbort()
        resolve()
      }
      const waiting: Waiting = { bytes, admit }
      this.#queue.push(waiting)
    })
  }
}
