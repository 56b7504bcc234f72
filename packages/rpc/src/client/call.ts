import { setMaxListeners } from 'node:events'
import { asMooncakeError, errorCode, MooncakeError } from '@mooncake-ts/core'
import type { AttachmentSink, RpcMethod } from '@mooncake-ts/core'
import type { DeadlineBucket, Expirable } from '../deadlines.js'
import type { Surroundings } from '../surroundings.js'
import type { Attachment } from '../wire/attachment.js'
import type { Attached } from '../wire/codec.js'

/** Where a call is: waiting for a connection, or in flight on one. */
export interface CallHolder {
  /** The caller waits no longer. */
  abandon(call: Call): void
  /** It has ended. */
  forget(call: Call): void
  deadlineError(call: Call): MooncakeError
}

export interface CallInit {
  readonly endpoint: string
  readonly method: RpcMethod<unknown, unknown>
  readonly request: unknown
  readonly deadlineMs: number
  readonly traceId: string
  readonly signal: AbortSignal | undefined
  readonly attachment: Attached | undefined
  readonly sink: ((response: unknown, byteLength: number) => AttachmentSink) | undefined
  readonly resolve: (response: unknown) => void
  readonly reject: (error: unknown) => void
  readonly onSettled: () => void
}

/** One call until it settles, which is once: by an answer, a failure, its deadline or its caller's signal. */
export class Call implements Expirable {
  readonly init: CallInit
  /** Chosen by the connection that carries it. */
  id = 0
  holder: CallHolder | undefined
  readonly #around: Surroundings
  readonly #dueMs: number
  readonly #bucket: DeadlineBucket
  readonly #onAbort: (() => void) | undefined
  /** What comes with the answer just now. */
  #arriving: Attachment | undefined
  #settled = false
  /** What goes with the request is somebody else's to give back. */
  #posted = false

  constructor(around: Surroundings, init: CallInit) {
    this.init = init
    this.#around = around
    this.#dueMs = around.clock.nowMs() + init.deadlineMs
    this.#bucket = around.deadlines.add(this, init.deadlineMs)
    const { signal } = init
    if (signal == null) return
    this.#onAbort = () => {
      this.holder?.abandon(this)
      this.fail(signal.reason)
    }
    setMaxListeners(0, signal) // One signal for a thousand calls is no leak, and deserves no warning.
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** At least 1: a call whose deadline has passed is about to be told so. */
  get remainingMs(): number {
    return Math.max(1, Math.ceil(this.#dueMs - this.#around.clock.nowMs()))
  }

  onDeadline(): void {
    const error = this.holder?.deadlineError(this)
    this.holder?.abandon(this)
    this.fail(error)
  }

  /** For whoever sends it. */
  post(): Attached | undefined {
    this.#posted = true
    return this.init.attachment
  }

  /** The call stays with its holder until what is attached has come. */
  answer(body: unknown, attachment: Attachment | undefined): void {
    const { method, endpoint, sink } = this.init
    let response: unknown
    try {
      response = method.parseResponse(body)
    } catch (cause) {
      const message = `${endpoint} answered out of form: ${asMooncakeError(cause).message}`
      this.fail(new MooncakeError('ERR_PROTOCOL', message, { cause }))
      return
    }
    if (attachment == null || sink == null) {
      this.#succeed(response)
      return
    }
    try {
      const target = sink(response, attachment.byteLength)
      this.#arriving = attachment
      attachment.take(target, error => {
        if (error == null) this.#succeed(response)
        else this.fail(error)
      })
    } catch (error) {
      this.fail(error)
    }
  }

  fail(error: unknown): void {
    if (this.#settled) return
    this.#settle()
    this.#arriving?.drop(asMooncakeError(error)) // Before the caller hears of it (I3).
    this.#around.metrics.call(this.init.method.name, errorCode(error))
    this.init.reject(error)
  }

  #succeed(response: unknown): void {
    this.#settle()
    this.#around.metrics.call(this.init.method.name, 'OK')
    this.init.resolve(response)
  }

  #settle(): void {
    this.#settled = true
    if (!this.#posted) this.init.attachment?.onSent()
    this.holder?.forget(this)
    this.holder = undefined
    this.#bucket.delete(this)
    if (this.#onAbort != null) this.init.signal?.removeEventListener('abort', this.#onAbort)
    this.init.onSettled()
  }
}
