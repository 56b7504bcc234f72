import { errorCode, MooncakeError } from '@mooncake-ts/core'
import type { Completion, Logger, Slice, Transport, TransferOp } from '@mooncake-ts/core'
import type { WireRegion } from '../peers/protocol.js'
import { executeBatch } from './execute-batch.js'

/** One operation on memory of a peer that announced it by several transports. */
export interface SubmitOp {
  readonly kind: 'read' | 'write'
  readonly local: Slice
  readonly region: WireRegion
  /** From the start of the announced window. */
  readonly offset: number
}

/**
 * Chooses a transport for each operation, in the order in which this node composed them, and goes on to the
 * next that both ends have when one fails: nobody else knows how many transports there are. (Objects that lie
 * in this process never come here: they are copied.)
 */
export class TransferSubmitter {
  readonly #transports: readonly Transport[]
  readonly #log: Logger
  readonly #warned = new Set<string>()

  constructor(transports: readonly Transport[], logger: Logger) {
    this.#transports = transports
    this.#log = logger
  }

  /**
   * `onEnd` is called once for each operation; the promise settles when all have ended, at rest. It never
   * rejects.
   */
  async submit(
    ops: readonly SubmitOp[],
    signal: AbortSignal,
    onEnd: (index: number, error?: Error) => void,
  ): Promise<void> {
    let left = ops.map((_, index) => index)
    const errors = new Array<Error | undefined>(ops.length)
    for (const transport of this.#transports) {
      if (left.length === 0) break
      left = await this.#tryOne(transport, ops, left, signal, errors, onEnd)
    }
    for (const index of left) {
      const schemes = ops[index]!.region.windows.map(window => window.scheme).join(', ')
      const message = `No transport of this node reaches the peer's memory (it offers ${schemes || 'none'})`
      onEnd(index, errors[index] ?? new MooncakeError('ERR_TRANSFER_FAIL', message))
    }
  }

  /** The operations that a next transport may still try. */
  async #tryOne(
    transport: Transport,
    ops: readonly SubmitOp[],
    left: readonly number[],
    signal: AbortSignal,
    errors: Array<Error | undefined>,
    onEnd: (index: number, error?: Error) => void,
  ): Promise<number[]> {
    const again: number[] = []
    const posted: number[] = []
    const batch: TransferOp[] = []
    for (const index of left) {
      const { kind, local, region, offset } = ops[index]!
      const window = region.windows.find(w => w.scheme === transport.scheme && transport.reaches(w))
      if (window == null) again.push(index)
      else {
        posted.push(index)
        batch.push({ kind, local, remote: { window, offset, byteLength: local.byteLength } })
      }
    }
    const fail = (index: number, error: Error): void => {
      errors[index] = error
      // Only a transport that could not move the bytes is worth another one: a refusal would be the same on
      // all of them.
      if (errorCode(error) === 'ERR_TRANSFER_FAIL' && !signal.aborted) {
        again.push(index)
        this.#warnOnce(transport, error)
      } else onEnd(index, error)
    }
    const ended = new Set<number>()
    const onCompletion = ({ index, error }: Completion): void => {
      ended.add(index)
      if (error == null) onEnd(posted[index]!)
      else fail(posted[index]!, error)
    }
    if (batch.length === 0) return again
    const failure = await executeBatch(transport, batch, signal, onCompletion)
    posted.forEach((index, position) => {
      if (!ended.has(position))
        fail(index, failure ?? new MooncakeError('ERR_TRANSFER_FAIL', 'The transport lost the operation'))
    })
    return again
  }

  #warnOnce(transport: Transport, error: Error): void {
    if (this.#warned.has(transport.scheme) || this.#transports.length === 1) return
    this.#warned.add(transport.scheme)
    this.#log.warn(`Transport ${transport.scheme} failed; going on over the next one`, {
      error: error.message,
    })
  }
}
