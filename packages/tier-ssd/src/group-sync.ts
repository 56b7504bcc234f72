import type { Ring } from '@mooncake-ts/io-uring'
import { ioError, resultOf } from './io.js'

/**
 * Makes a file durable for many at once: one fdatasync runs at a time, and whoever asks meanwhile shares the
 * next one, because the one that runs may have begun before his bytes were written.
 */
export class GroupSync {
  readonly #ring: Ring
  readonly #fd: number
  readonly #name: string
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(ring: Ring, fd: number, name: string) {
    this.#ring = ring
    this.#fd = fd
    this.#name = name
  }

  /** Settles when everything that was written before the call is durable. @throws ERR_IO, ERR_NO_SPACE */
  request(): Promise<void> {
    if (this.#running == null) return this.#start()
    this.#next ??= this.#after(this.#running)
    return this.#next
  }

  /** Settles when none is in flight, whatever became of it. */
  async idle(): Promise<void> {
    const last = (): Promise<void> | undefined => this.#next ?? this.#running
    for (let one = last(); one != null; one = last()) await one.catch(() => {})
  }

  async #after(running: Promise<void>): Promise<void> {
    await running.catch(() => {})
    this.#next = undefined
    await this.#start()
  }

  #start(): Promise<void> {
    const running = this.#sync()
    this.#running = running
    const forget = (): void => {
      if (this.#running === running) this.#running = undefined
    }
    running.then(forget, forget)
    return running
  }

  async #sync(): Promise<void> {
    const result = await resultOf(done => this.#ring.fsync(this.#fd, done, { dataOnly: true }))
    if (result < 0) throw ioError(`${this.#name}: fdatasync`, result, 0)
  }
}
