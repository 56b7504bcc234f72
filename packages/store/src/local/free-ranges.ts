interface Range {
  offset: number
  byteLength: number
}

/**
 * The free parts of a range, first fit. Linear in the number of holes, which is small where pieces are few
 * and short-lived; tiers, which are neither, have real allocators.
 */
export class FreeRanges {
  /** By offset, never adjacent, never empty. */
  readonly #holes: Range[]

  constructor(byteLength: number) {
    this.#holes = [{ offset: 0, byteLength }]
  }

  /** Where a piece may lie; undefined when none is large enough. `byteLength` must be positive. */
  take(byteLength: number): number | undefined {
    const index = this.#holes.findIndex(hole => hole.byteLength >= byteLength)
    const hole = this.#holes[index]
    if (hole == null) return undefined
    const { offset } = hole
    hole.offset += byteLength
    hole.byteLength -= byteLength
    if (hole.byteLength === 0) this.#holes.splice(index, 1)
    return offset
  }

  giveBack(offset: number, byteLength: number): void {
    const found = this.#holes.findIndex(hole => hole.offset > offset)
    const next = found < 0 ? this.#holes.length : found
    const before = this.#holes[next - 1]
    const after = this.#holes[next]
    const joinsBefore = before != null && before.offset + before.byteLength === offset
    const joinsAfter = after != null && offset + byteLength === after.offset
    const start = joinsBefore ? before.offset : offset
    const end = joinsAfter ? after.offset + after.byteLength : offset + byteLength
    const first = joinsBefore ? next - 1 : next
    const absorbed = Number(joinsBefore) + Number(joinsAfter)
    this.#holes.splice(first, absorbed, { offset: start, byteLength: end - start })
  }
}
