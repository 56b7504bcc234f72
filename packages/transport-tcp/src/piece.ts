import { BatchOperation, type Batch, type TransferOp } from '@mooncake-ts/core'
import { KIND_READ, KIND_WRITE, type Kind } from './codec.js'
import type { Slot } from './slots.js'

/** A contiguous part of an operation that rides in one frame: all of a small one, a stripe of a large one. */
export interface Piece {
  readonly operation: BatchOperation
  readonly kind: Kind
  readonly localOffset: number
  readonly remoteOffset: number
  /** From here to the end of the operation. */
  readonly operationBytes: number
  readonly byteLength: number
  /** Set while it is on the wire. */
  slot: Slot | undefined
}

const STRIPE_ALIGN_BYTES = 4096

/** Cuts an operation beyond `stripeBytes` into stripes of about the same size, so that lanes end together. */
export function cut(batch: Batch, index: number, op: TransferOp, stripeBytes: number): Piece[] {
  const { byteLength, offset: localOffset } = op.local
  const count = Math.ceil(byteLength / stripeBytes)
  const even = Math.ceil(byteLength / count / STRIPE_ALIGN_BYTES) * STRIPE_ALIGN_BYTES
  const step = Math.min(even, stripeBytes)
  const operation = new BatchOperation(batch, index, op)
  operation.split(Math.ceil(byteLength / step))
  const pieces: Piece[] = []
  for (let done = 0; done < byteLength; done += step) {
    pieces.push({
      operation,
      kind: op.kind === 'read' ? KIND_READ : KIND_WRITE,
      localOffset: localOffset + done,
      remoteOffset: op.remote.offset + done,
      operationBytes: byteLength - done,
      byteLength: Math.min(step, byteLength - done),
      slot: undefined,
    })
  }
  return pieces
}
