import { MooncakeError, type ErrorCode, type RpcContext } from '@mooncake-ts/core'
import type { DeadlineBucket, Expirable } from '../deadlines.js'
import type { Surroundings } from '../surroundings.js'
import type { Attachment } from '../wire/attachment.js'
import type { Attached } from '../wire/codec.js'

/** One request in work, and what its handler sees of it. */
export class ServedRequest implements RpcContext, Expirable {
  readonly id: number
  readonly method: string
  readonly peer: string
  readonly deadlineMs: number
  readonly traceId: string
  readonly begunMs: number
  readonly attachment: Attachment | undefined
  /** Goes with the answer. */
  #attached: Attached | undefined
  readonly #bucket: DeadlineBucket
  /** Made when a handler asks: most never do, and one costs more than the rest of a small request. */
  #controller: AbortController | undefined
  #abortReason: MooncakeError | undefined
  #abandoned = false

  constructor(
    around: Surroundings,
    init: {
      readonly id: number
      readonly method: string
      readonly peer: string
      readonly deadlineMs: number
      readonly traceId: string
      readonly attachment: Attachment | undefined
    },
  ) {
    this.id = init.id
    this.method = init.method
    this.peer = init.peer
    this.deadlineMs = init.deadlineMs
    this.traceId = init.traceId
    this.attachment = init.attachment
    this.begunMs = around.clock.nowMs()
    this.#bucket = around.deadlines.add(this, init.deadlineMs)
  }

  get signal(): AbortSignal {
    if (this.#controller == null) {
      this.#controller = new AbortController()
      if (this.#abortReason != null) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  /** Nobody waits for the answer. */
  get abandoned(): boolean {
    return this.#abandoned
  }

  /** What a failure without one of our codes means: a bug, unless the handler was told to stop. */
  get failureCode(): ErrorCode {
    return this.#abortReason?.code ?? 'ERR_INTERNAL'
  }

  onDeadline(): void {
    const message = `The deadline of ${this.deadlineMs} ms of ${this.method} passed`
    this.abandon(new MooncakeError('ERR_RPC_TIMEOUT', message))
  }

  /** The caller is gone. */
  abandon(reason: MooncakeError): void {
    this.#abandoned = true
    this.abort(reason)
  }

  /** Asks the handler to stop; what it still says is sent, unless the caller is gone. */
  abort(reason: MooncakeError): void {
    if (this.#abortReason != null) return
    this.#abortReason = reason
    this.attachment?.drop(reason)
    this.#controller?.abort(reason)
  }

  attach(bytes: Uint8Array, onSent: () => void = () => {}): void {
    this.#attached?.onSent()
    this.#attached = { bytes, onSent }
  }

  get attachedBytes(): number | undefined {
    return this.#attached?.bytes.byteLength
  }

  /** Whoever takes it has to say when it was sent. */
  takeAttached(): Attached | undefined {
    const attached = this.#attached
    this.#attached = undefined
    return attached
  }

  /** The handler has returned. */
  settle(): void {
    this.#bucket.delete(this)
    this.#attached?.onSent() // It was not.
    if (this.attachment?.ended !== false) return
    this.attachment.drop(
      new MooncakeError('ERR_INTERNAL', `${this.method} returned before its attachment came`),
    )
  }
}
