import type { BatchOperation } from '@mooncake-ts/core'
import type { WindowKey } from './key.js'
import type { Registration } from './registrations.js'

/** A contiguous part of an operation that goes over one device. */
export interface Piece {
  readonly operation: BatchOperation
  readonly key: WindowKey
  /** Of the local memory of the operation. */
  readonly registration: Registration
  /** From the start of the operation. */
  readonly offset: number
  readonly byteLength: number
  /** How often it was posted. */
  attempts: number
}

/** Cuts an operation beyond `pieceBytes`, so that several devices move it together. */
export function cut(
  operation: BatchOperation,
  key: WindowKey,
  registration: Registration,
  pieceBytes: number,
): Piece[] {
  const { byteLength: operationBytes } = operation.op.local
  const pieces: Piece[] = []
  for (let offset = 0; offset < operationBytes; offset += pieceBytes) {
    const byteLength = Math.min(pieceBytes, operationBytes - offset)
    pieces.push({ operation, key, registration, offset, byteLength, attempts: 0 })
  }
  operation.split(pieces.length)
  return pieces
}
