/** An array that has a place for `index`: this one, or a copy of at least twice its length with zeros behind. */
export function grown<A extends Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array>(
  array: A,
  index: number,
): A {
  if (index < array.length) return array
  const Same = array.constructor as new (length: number) => A
  const larger = new Same(Math.max(index + 1, 2 * array.length))
  larger.set(array)
  return larger
}
