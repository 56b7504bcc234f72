/** The kernel's limit on pieces of one vectored operation. */
const PIECES_MAX = 1024
const TRIPLE = 3

/** Pieces of memory to be received into or sent from, in order, and how far that got. */
export class IoVector {
  /** Flat triples: slot, offset, length. */
  readonly #triples: number[] = []
  #at = 0
  #remainingBytes = 0

  get remainingBytes(): number {
    return this.#remainingBytes
  }

  /** Empty pieces are left out. Gives itself back, so that short vectors read as one expression. */
  push(slot: number, offset: number, byteLength: number): this {
    if (byteLength > 0) {
      this.#triples.push(slot, offset, byteLength)
      this.#remainingBytes += byteLength
    }
    return this
  }

  append(other: IoVector): void {
    for (let i = other.#at; i < other.#triples.length; i++) this.#triples.push(other.#triples[i]!)
    this.#remainingBytes += other.#remainingBytes
  }

  /** What to give to the kernel next. */
  next(): number[] {
    const end = this.#at + PIECES_MAX * TRIPLE
    return this.#at === 0 && this.#triples.length <= end ? this.#triples : this.#triples.slice(this.#at, end)
  }

  /** Forgets the first `byteLength` bytes: they are done. */
  advance(byteLength: number): void {
    this.#remainingBytes -= byteLength
    let left = byteLength
    while (left > 0) {
      const length = this.#triples[this.#at + 2]!
      if (length > left) {
        this.#triples[this.#at + 1]! += left
        this.#triples[this.#at + 2] = length - left
        return
      }
      left -= length
      this.#at += TRIPLE
    }
  }
}
