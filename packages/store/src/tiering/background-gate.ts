import type { Clock } from '@mooncake-ts/core'

export interface BackgroundGateInit {
  readonly clock: Clock
  /** Operations at a time while the foreground is idle … */
  readonly opsMax: number
  /** … and their bytes; one larger operation goes alone. */
  readonly bytesMax: number
  /** While foreground operations wait for their turn, one operation may begin in this time. */
  readonly progressMs: number
  /** Foreground operations that wait for their turn. */
  readonly waiting: () => number
  /** Somebody was refused, and may ask again. */
  readonly onOpen: () => void
}

/**
 * How much background work may run. It takes only what the foreground leaves: all of it while no foreground
 * operation is at a device, one operation at a time while one is, none while some even wait for their turn.
 * But once every `progressMs` one may begin whatever the foreground does, so that tiers do not stay full for
 * ever.
 */
export class BackgroundGate implements Disposable {
  readonly #init: BackgroundGateInit
  #foregroundOps = 0
  #ops = 0
  #bytes = 0
  #lastStartMs = -Infinity
  /** Somebody was refused since the last call of `onOpen`. */
  #refused = false
  #timer: Disposable | undefined

  constructor(init: BackgroundGateInit) {
    this.#init = init
  }

  get ops(): number {
    return this.#ops
  }

  get bytes(): number {
    return this.#bytes
  }

  beginForeground(): void {
    this.#foregroundOps++
  }

  endForeground(): void {
    if (--this.#foregroundOps === 0) this.#open()
  }

  /** Whether so many bytes may be moved now; where not, `onOpen` is called when it is worth asking again. */
  admits(bytes: number): boolean {
    const { bytesMax } = this.#init
    const admitted =
      this.#ops === 0 ? this.#mayBegin() : this.#ops < this.#allowance() && this.#bytes + bytes <= bytesMax
    if (!admitted) this.#refuse()
    return admitted
  }

  enter(bytes: number): void {
    this.#ops++
    this.#bytes += bytes
    this.#lastStartMs = this.#init.clock.nowMs()
  }

  leave(bytes: number): void {
    this.#ops--
    this.#bytes -= bytes
    this.#open()
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#refused = false
  }

  #allowance(): number {
    if (this.#init.waiting() > 0) return 0
    return this.#foregroundOps > 0 ? 1 : this.#init.opsMax
  }

  #mayBegin(): boolean {
    return this.#allowance() > 0 || this.#init.clock.nowMs() - this.#lastStartMs >= this.#init.progressMs
  }

  /** What runs wakes the refused when it ends; where nothing runs, time does. */
  #refuse(): void {
    this.#refused = true
    if (this.#ops > 0) return
    this.#timer ??= this.#init.clock.after(this.#init.progressMs, () => {
      this.#timer = undefined
      this.#open()
    })
  }

  #open(): void {
    if (!this.#refused) return
    this.#refused = false
    this.#init.onOpen()
  }
}
