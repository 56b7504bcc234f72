/** Pieces of memory to receive into or to send from, in order. */
export class IoVector {
  /** Flat triples, as a ring takes them: slot, offset, length. */
  readonly triples: number[] = []
  #byteLength = 0

  get byteLength(): number {
    return this.#byteLength
  }

  /** Empty pieces are left out. Gives itself back, so that short vectors read as one expression. */
  push(slot: number, offset: number, byteLength: number): this {
    if (byteLength > 0) {
      this.triples.push(slot, offset, byteLength)
      this.#byteLength += byteLength
    }
    return this
  }

  append(other: IoVector): void {
    for (const number of other.triples) this.triples.push(number)
    this.#byteLength += other.#byteLength
  }
}
