const DIGIT_BITS = 11
const DIGITS = 1 << DIGIT_BITS
/** Blocks of a range are counted in 32 bits. */
const PASSES = 3

/**
 * `rows` in the order of their keys, which are below 2^33: a radix sort, because a million rows come at
 * start.
 */
export function sortRows(rows: Uint32Array, keyOf: (row: number) => number): Uint32Array {
  let from = rows
  let to: Uint32Array = new Uint32Array(rows.length)
  for (let pass = 0, unit = 1; pass < PASSES; pass++, unit *= DIGITS) {
    const digitOf = (row: number): number => Math.floor(keyOf(row) / unit) % DIGITS
    const starts = new Uint32Array(DIGITS + 1)
    for (const row of from) starts[digitOf(row) + 1]!++
    for (let digit = 0; digit < DIGITS; digit++) starts[digit + 1]! += starts[digit]!
    for (const row of from) to[starts[digitOf(row)]!++] = row
    ;[from, to] = [to, from]
  }
  return from
}
