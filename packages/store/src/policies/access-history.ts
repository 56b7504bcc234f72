import { GhostIndex } from './ghost-index.js'

/** Nobody's: the object was used later, or removed. */
const OVER = -1
/** Of an object that was evicted. */
const GHOST = -2

/**
 * The last accesses of a tier, each with the object's hash, class and uses, 18 bytes in all, in a ring. Each object
 * that is here, and each that was evicted, is known by its last one. A power of two long; it can grow.
 */
export class AccessHistory {
  #owners: Int32Array
  #hashes: Uint32Array
  #classes: Uint8Array
  #uses: Uint8Array
  #ghosts: GhostIndex
  #mask: number
  #now = 0

  constructor(length: number) {
    this.#owners = new Int32Array(length).fill(OVER)
    this.#hashes = new Uint32Array(length)
    this.#classes = new Uint8Array(length)
    this.#uses = new Uint8Array(length)
    this.#ghosts = new GhostIndex(this.#hashes)
    this.#mask = length - 1
  }

  get length(): number {
    return this.#mask + 1
  }

  /** Accesses so far. */
  get now(): number {
    return this.#now
  }

  /** Steps on, and forgets the oldest access; gives its slot where that object is still here. */
  step(): number | undefined {
    const position = ++this.#now & this.#mask
    const owner = this.#owners[position]!
    if (owner === GHOST) this.#ghosts.delete(position)
    this.#owners[position] = OVER
    return owner >= 0 ? owner : undefined
  }

  /** The access of this step. Gives its position. */
  write(slot: number, hash: number, reuseClass: number, uses: number): number {
    const position = this.#now & this.#mask
    this.#owners[position] = slot
    this.#hashes[position] = hash
    this.#classes[position] = reuseClass
    this.#uses[position] = uses
    return position
  }

  /** The position of the access so long ago, where it still stands for an object, present or evicted. */
  at(ageAccesses: number): number | undefined {
    const position = (this.#now - ageAccesses) & this.#mask
    return ageAccesses >= this.#now || this.#owners[position] === OVER ? undefined : position
  }

  ageOf(position: number): number {
    return (this.#now - position) & this.#mask
  }

  classOf(position: number): number {
    return this.#classes[position]!
  }

  usesOf(position: number): number {
    return this.#uses[position]!
  }

  /** Undefined for an evicted object. */
  slotOf(position: number): number | undefined {
    const owner = this.#owners[position]!
    return owner >= 0 ? owner : undefined
  }

  findGhost(hash: number): number | undefined {
    return this.#ghosts.find(hash)
  }

  /** The object went, but may come back. */
  becomeGhost(position: number): void {
    this.#owners[position] = GHOST
    this.#ghosts.add(position)
  }

  /** It does not stand for its object any more. */
  end(position: number): void {
    if (this.#owners[position] === GHOST) this.#ghosts.delete(position)
    this.#owners[position] = OVER
  }

  /** Of twice the length. `moved` is told the new position of each object that is here. */
  grow(moved: (slot: number, position: number) => void): void {
    const larger = new AccessHistory(2 * this.length)
    const first = Math.max(1, this.#now - this.#mask)
    for (let time = first; time <= this.#now; time++) {
      const from = time & this.#mask
      const owner = this.#owners[from]!
      if (owner === OVER) continue
      larger.#now = time
      const to = larger.write(owner, this.#hashes[from]!, this.#classes[from]!, this.#uses[from]!)
      if (owner === GHOST) larger.#ghosts.add(to)
      else moved(owner, to)
    }
    this.#owners = larger.#owners
    this.#hashes = larger.#hashes
    this.#classes = larger.#classes
    this.#uses = larger.#uses
    this.#ghosts = larger.#ghosts
    this.#mask = larger.#mask
  }
}
