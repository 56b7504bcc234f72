const EMPTY = 0

/**
 * Positions by 32-bit hash: open addressing with linear probing in one Int32Array, at most half full. The hash of a
 * position is the owner's to keep. A position whose hash is that of another key is found for it, which costs a
 * policy a wrong guess and nothing else.
 */
export class GhostIndex {
  readonly #hashes: Uint32Array
  /** Positions plus one. */
  readonly #cells: Int32Array
  readonly #mask: number

  /** @param hashes by position; its length, a power of two, bounds what the index holds */
  constructor(hashes: Uint32Array) {
    this.#hashes = hashes
    this.#cells = new Int32Array(2 * hashes.length)
    this.#mask = this.#cells.length - 1
  }

  add(position: number): void {
    let cell = this.#homeOf(position)
    while (this.#cells[cell] !== EMPTY) cell = (cell + 1) & this.#mask
    this.#cells[cell] = position + 1
  }

  find(hash: number): number | undefined {
    for (let cell = hash & this.#mask; this.#cells[cell] !== EMPTY; cell = (cell + 1) & this.#mask) {
      const position = this.#cells[cell]! - 1
      if (this.#hashes[position] === hash) return position
    }
    return undefined
  }

  /** The position must be in the index, and have the hash that it was added with. */
  delete(position: number): void {
    let hole = this.#homeOf(position)
    while (this.#cells[hole] !== position + 1) hole = (hole + 1) & this.#mask
    // Those behind it move up where that brings them no nearer than home, so that no probe ends too early.
    for (let next = (hole + 1) & this.#mask; this.#cells[next] !== EMPTY; next = (next + 1) & this.#mask) {
      const home = this.#homeOf(this.#cells[next]! - 1)
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue
      this.#cells[hole] = this.#cells[next]!
      hole = next
    }
    this.#cells[hole] = EMPTY
  }

  #homeOf(position: number): number {
    return this.#hashes[position]! & this.#mask
  }
}
