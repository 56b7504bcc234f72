import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { AttachmentSink, IncomingAttachment } from '@mooncake-ts/core'

/**
 * The bytes behind a frame, on their way in. They are given to their sink as the socket receives them, on the
 * thread of JavaScript: once `drop` has returned nobody writes anywhere any more (I3).
 */
export class Attachment implements IncomingAttachment {
  readonly byteLength: number
  #missing: number
  #poured = 0
  /** What came before anybody said where it goes. */
  #early: Buffer[] = []
  #sink: AttachmentSink | undefined
  #onEnd: ((error?: MooncakeError) => void) | undefined
  #error: MooncakeError | undefined

  constructor(byteLength: number) {
    this.byteLength = byteLength
    this.#missing = byteLength
  }

  /** Bytes that have not arrived. */
  get missing(): number {
    return this.#missing
  }

  /** Nothing more will happen to it: the sink has got everything, or it was dropped. */
  get ended(): boolean {
    return this.#error != null || (this.#onEnd != null && this.#sink == null)
  }

  /** Somebody has said where it goes. */
  get taken(): boolean {
    return this.#onEnd != null
  }

  /** The next bytes of the stream, at most `missing`. */
  push(bytes: Buffer): void {
    this.#missing -= bytes.length
    if (this.#error != null) return
    if (this.#onEnd == null) this.#early.push(bytes)
    else this.#pour(bytes)
  }

  /** `onEnd` is called once: when the sink has got everything, or will get nothing any more. */
  take(sink: AttachmentSink, onEnd: (error?: MooncakeError) => void): void {
    if (this.#onEnd != null) {
      onEnd(new MooncakeError('ERR_INTERNAL', 'An attachment can be received only once'))
      return
    }
    this.#onEnd = onEnd
    if (this.#error != null) {
      onEnd(this.#error)
      return
    }
    this.#sink = sink
    for (const bytes of this.#early.splice(0)) this.#pour(bytes)
  }

  async receive(sink: AttachmentSink, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const onAbort = (): void => {
      this.drop(asMooncakeError(signal!.reason))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await new Promise<void>((resolve, reject) => {
        this.take(sink, error => {
          if (error == null) resolve()
          else reject(error)
        })
      })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** What is still to come is thrown away; nothing happens where it has ended. */
  drop(error: MooncakeError): void {
    if (this.ended) return
    this.#error = error
    this.#early = []
    if (this.#sink == null) return
    this.#sink = undefined
    this.#onEnd?.(error)
  }

  #pour(bytes: Buffer): void {
    if (this.#sink == null) return
    this.#poured += bytes.length
    try {
      this.#sink(bytes)
    } catch (error) {
      this.drop(asMooncakeError(error))
      return
    }
    if (this.#poured < this.byteLength) return
    this.#sink = undefined
    this.#onEnd?.()
  }
}
