import type { Batch } from '@mooncake-ts/core'
import type { Piece } from './piece.js'

/** How many taken entries may stay at the front before the array is cut. */
const SLACK_MAX = 1024

/** First in, first out, with constant-time ends. */
export class PieceQueue {
  #pieces: Piece[] = []
  #at = 0
  #byteLength = 0

  /** Of all that wait. */
  get byteLength(): number {
    return this.#byteLength
  }

  get length(): number {
    return this.#pieces.length - this.#at
  }

  get first(): Piece | undefined {
    return this.#pieces[this.#at]
  }

  push(piece: Piece): void {
    this.#pieces.push(piece)
    this.#byteLength += piece.byteLength
  }

  shift(): void {
    this.#byteLength -= this.#pieces[this.#at]?.byteLength ?? 0
    this.#at++
    if (this.#at < SLACK_MAX && this.#at < this.#pieces.length) return
    this.#pieces.splice(0, this.#at)
    this.#at = 0
  }

  /** Removes the pieces of a batch, or all. */
  takeOut(batch?: Batch): Piece[] {
    const pieces = this.#pieces.slice(this.#at)
    const mine = (piece: Piece): boolean => batch == null || piece.operation.batch === batch
    const taken = pieces.filter(mine)
    this.#pieces = pieces.filter(piece => !mine(piece))
    this.#at = 0
    for (const { byteLength } of taken) this.#byteLength -= byteLength
    return taken
  }
}
