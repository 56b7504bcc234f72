/**
 * Belady's optimum (MIN, 1966) for blocks of one size, with the right not to keep a newcomer: whoever is used again
 * last, or never, is not kept. Gives the leading hits of each request. It knows the future, so it is a bound and no
 * policy.
 */
export function beladyLeadingHits(
  requests: readonly (readonly number[])[],
  capacityBlocks: number,
): number[] {
  const nextUses = nextUsesOf(requests)
  /** Block → its next use, of those that are kept. */
  const kept = new Map<number, number>()
  const latest = new LatestFirst()
  let access = 0
  return requests.map(blockIds => {
    const firstMiss = blockIds.findIndex(id => !kept.has(id))
    for (const id of blockIds) {
      const nextUse = nextUses[access++]!
      kept.set(id, nextUse)
      latest.push(nextUse, id)
      while (kept.size > capacityBlocks) {
        const [use, block] = latest.pop()
        if (kept.get(block) === use) kept.delete(block) // Else it has been used since, and stands in there again.
      }
    }
    return firstMiss < 0 ? blockIds.length : firstMiss
  })
}

/** For each access the number of the block's next one. */
function nextUsesOf(requests: readonly (readonly number[])[]): Float64Array {
  const accesses = requests.flat()
  const nextUses = new Float64Array(accesses.length)
  const next = new Map<number, number>()
  for (let access = accesses.length - 1; access >= 0; access--) {
    const block = accesses[access]!
    nextUses[access] = next.get(block) ?? Infinity
    next.set(block, access)
  }
  return nextUses
}

/** A binary heap of blocks, latest use first. */
class LatestFirst {
  readonly #heap: [use: number, block: number][] = []

  push(use: number, block: number): void {
    const heap = this.#heap
    let place = heap.push([use, block]) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (heap[parent]![0] >= use) break
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = [use, block]
  }

  /** Must not be empty. */
  pop(): [use: number, block: number] {
    const heap = this.#heap
    const top = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return top
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1]![0] > heap[child]![0]) child++
      if (heap[child]![0] <= last[0]) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = last
    return top
  }
}
