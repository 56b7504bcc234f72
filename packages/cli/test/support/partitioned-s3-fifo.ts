/**
 * S3-FIFO with queues of fixed size: the small one gives up what is above its tenth also while the main one has room, a
 * single hit is enough to stay. It is what the reference figures of issue 3 were computed with; the policy of the store
 * evicts only when the tier is full, as the paper does, and is better. Gives the leading hits of each request.
 */
export function partitionedS3Fifo(
  requests: readonly (readonly number[])[],
  capacityBlocks: number,
): number[] {
  const smallMax = Math.floor(capacityBlocks / 10)
  const mainMax = capacityBlocks - smallMax
  const small = new Map<number, number>()
  const main = new Map<number, number>()
  const ghosts = new Map<number, true>()
  let oldestGhosts = ghosts.keys()
  const shift = (queue: Map<number, number>): [block: number, hits: number] => {
    const [block, hits] = queue.entries().next().value!
    queue.delete(block)
    return [block, hits]
  }
  const addMain = (block: number): void => {
    main.set(block, 0)
    while (main.size > mainMax) {
      const [oldest, hits] = shift(main)
      if (hits > 0) main.set(oldest, hits - 1)
    }
  }
  const addGhost = (block: number): void => {
    ghosts.set(block, true)
    while (ghosts.size > mainMax) {
      const { done, value } = oldestGhosts.next()
      if (done === true) oldestGhosts = ghosts.keys()
      else ghosts.delete(value)
    }
  }
  const addSmall = (block: number): void => {
    small.set(block, 0)
    while (small.size > smallMax) {
      const [oldest, hits] = shift(small)
      if (hits > 0) addMain(oldest)
      else addGhost(oldest)
    }
  }
  return requests.map(blockIds => {
    let leading = 0
    let missed = false
    for (const id of blockIds) {
      const queue = small.has(id) ? small : main.has(id) ? main : undefined
      if (queue != null) queue.set(id, Math.min(3, queue.get(id)! + 1))
      else if (ghosts.delete(id)) addMain(id)
      else addSmall(id)
      missed ||= queue == null
      if (!missed) leading++
    }
    return leading
  })
}
