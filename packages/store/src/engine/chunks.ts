/**
 * Bytes and keys of one data RPC: enough to pay for the round trip, little enough that completions come
 * early.
 */
const CHUNK_BYTES = 8 * 1024 * 1024
const CHUNK_KEYS = 256

/**
 * Cuts a batch into runs of neighbours of at most that many bytes and keys; one larger item makes a run of
 * its own.
 */
export function chunksOf<T>(items: readonly T[], byteLengthOf: (item: T) => number): T[][] {
  const chunks: T[][] = []
  let chunk: T[] = []
  let bytes = 0
  for (const item of items) {
    const byteLength = byteLengthOf(item)
    if (chunk.length > 0 && (bytes + byteLength > CHUNK_BYTES || chunk.length === CHUNK_KEYS)) {
      chunks.push(chunk)
      chunk = []
      bytes = 0
    }
    chunk.push(item)
    bytes += byteLength
  }
  if (chunk.length > 0) chunks.push(chunk)
  return chunks
}

export function groupBy<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group == null) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}
