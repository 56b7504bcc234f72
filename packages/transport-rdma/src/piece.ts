import type { Batch, Slice, TransferOp } from '@mooncake-ts/core'
import type { WindowKey } from './key.js'
import type { Registration } from './registrations.js'

/** What pieces are pieces of: ends when the last of them has. */
export interface PieceOwner {
  readonly batch: Batch
  readonly op: TransferOp
  /** From now on it ends with the last of `count` pieces. */
  split(count: number): void
  /** Nothing touches the piece any more. The first error stands for the operation. */
  settle(error?: Error): void
  /** The piece was taken back before it was whole. */
  takeBack(): void
}

/** A contiguous part of an operation that goes over one device. */
export interface Piece {
  readonly operation: PieceOwner
  readonly key: WindowKey
  /** Of the local memory that the device touches. */
  readonly registration: Registration
  /** From the start of the registration. */
  readonly localOffset: number
  /** From the start of the operation. */
  readonly offset: number
  readonly byteLength: number
  /** How often it was posted. */
  attempts: number
}

/**
 * Cuts an operation beyond `pieceBytes`, so that several devices move it together.
 * @param local where the device finds its bytes, or puts them: a part of what is registered
 */
export function cut(
  operation: PieceOwner,
  key: WindowKey,
  local: Slice,
  registration: Registration,
  pieceBytes: number,
): Piece[] {
  const pieces: Piece[] = []
  for (let offset = 0; offset < local.byteLength; offset += pieceBytes) {
    const byteLength = Math.min(pieceBytes, local.byteLength - offset)
    const localOffset = local.offset - registration.offset + offset
    pieces.push({ operation, key, registration, localOffset, offset, byteLength, attempts: 0 })
  }
  operation.split(pieces.length)
  return pieces
}
