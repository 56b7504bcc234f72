/** What a list needs of its members: they carry their own links, so that touching one allocates nothing. */
export interface LruNode<N extends LruNode<N>> {
  newer: N | undefined
  older: N | undefined
  /** The list that it is in now. */
  list: LruList<N> | undefined
  readonly byteLength: number
}

/** Least recently used first out. All operations take constant time. */
export class LruList<N extends LruNode<N>> {
  #newest: N | undefined
  #oldest: N | undefined
  #length = 0
  #bytes = 0

  get oldest(): N | undefined {
    return this.#oldest
  }

  get length(): number {
    return this.#length
  }

  /** Of all members together. */
  get bytes(): number {
    return this.#bytes
  }

  /** As the newest. The node must not be in a list. */
  add(node: N): void {
    node.list = this
    node.older = this.#newest
    if (this.#newest == null) this.#oldest = node
    else this.#newest.newer = node
    this.#newest = node
    this.#length++
    this.#bytes += node.byteLength
  }

  /** The node must be in this list. */
  delete(node: N): void {
    if (node.older == null) this.#oldest = node.newer
    else node.older.newer = node.newer
    if (node.newer == null) this.#newest = node.older
    else node.newer.older = node.older
    node.older = node.newer = undefined
    node.list = undefined
    this.#length--
    this.#bytes -= node.byteLength
  }
}
