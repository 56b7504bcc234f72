/** What a queue needs of its members. */
export interface Deadlined {
  deadlineMs: number
  /** The member's place, kept by the queue; -1 outside of it. */
  place: number
}

/**
 * Members by deadline, earliest first: a binary heap whose members know their places, so that any can leave
 * or move in O(log n).
 */
export class DeadlineQueue<T extends Deadlined> {
  readonly #heap: T[] = []

  get size(): number {
    return this.#heap.length
  }

  get earliest(): T | undefined {
    return this.#heap[0]
  }

  add(member: T): void {
    this.#heap.push(member)
    this.#up(member, this.#heap.length - 1)
  }

  /** The member must be in this queue. */
  delete(member: T): void {
    const last = this.#heap.pop()!
    if (last !== member) this.#settle(last, member.place)
    member.place = -1
  }

  /** The member must be in this queue. */
  move(member: T, deadlineMs: number): void {
    member.deadlineMs = deadlineMs
    this.#settle(member, member.place)
  }

  #settle(member: T, place: number): void {
    const parent = this.#heap[(place - 1) >> 1]
    if (place > 0 && parent!.deadlineMs > member.deadlineMs) this.#up(member, place)
    else this.#down(member, place)
  }

  #up(member: T, from: number): void {
    let place = from
    while (place > 0) {
      const parentPlace = (place - 1) >> 1
      const parent = this.#heap[parentPlace]!
      if (parent.deadlineMs <= member.deadlineMs) break
      this.#put(parent, place)
      place = parentPlace
    }
    this.#put(member, place)
  }

  #down(member: T, from: number): void {
    let place = from
    for (;;) {
      const left = this.#heap[2 * place + 1]
      const right = this.#heap[2 * place + 2]
      const child = right != null && right.deadlineMs < left!.deadlineMs ? right : left
      if (child == null || child.deadlineMs >= member.deadlineMs) break
      const childPlace = child.place
      this.#put(child, place)
      place = childPlace
    }
    this.#put(member, place)
  }

  #put(member: T, place: number): void {
    this.#heap[place] = member
    member.place = place
  }
}
