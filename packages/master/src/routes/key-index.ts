/** In place of a reference. */
export const ABSENT = 0xffff_ffff

const INITIAL_BUCKETS = 64
/** Above this probes become long. */
export const LOAD_MAX = 0.75

/**
 * Hash → reference, with linear probing. The two lie side by side in a bucket, so that a look-up reads one
 * line of the cache here, and a key is touched only to confirm: a JavaScript Map visits the string of every
 * key in a bucket, and ends at 2^24 entries.
 */
export class KeyIndex {
  /** Hash and reference of each bucket. */
  #pairs = new Uint32Array(INITIAL_BUCKETS * 2).fill(ABSENT)
  #mask = INITIAL_BUCKETS - 1
  #size = 0
  readonly #loadMax: number

  /** @param loadMax share of the buckets that are used before there are twice as many */
  constructor(loadMax = LOAD_MAX) {
    this.#loadMax = loadMax
  }

  get size(): number {
    return this.#size
  }

  /**
   * A bucket whose hash is this one, from `bucket` on; -1 where there is none. The caller compares the key,
   * and asks from the next bucket on where it is another's.
   *
   * @param bucket at first any number whose low bits are the hash's
   */
  find(hash: number, bucket = hash): number {
    const pairs = this.#pairs
    for (bucket &= this.#mask; ; bucket = (bucket + 1) & this.#mask) {
      if (pairs[bucket * 2 + 1] === ABSENT) return -1
      if (pairs[bucket * 2] === hash) return bucket
    }
  }

  /** The reference of the first bucket whose hash is this one; `ABSENT` where there is none. */
  first(hash: number): number {
    const bucket = this.find(hash)
    return bucket < 0 ? ABSENT : this.reference(bucket)
  }

  /** Only reads where a look-up will begin, so that it is in the cache then. */
  touch(hash: number): number {
    return this.#pairs[(hash & this.#mask) * 2]!
  }

  reference(bucket: number): number {
    return this.#pairs[bucket * 2 + 1]!
  }

  /** The key must not be there. */
  insert(hash: number, reference: number): void {
    if (this.#size + 1 > (this.#mask + 1) * this.#loadMax) this.#grow()
    this.#put(hash, reference)
    this.#size++
  }

  /** The key must be there. An index that becomes empty gives its memory back. */
  remove(hash: number, reference: number): void {
    if (--this.#size === 0) {
      this.#pairs = new Uint32Array(INITIAL_BUCKETS * 2).fill(ABSENT)
      this.#mask = INITIAL_BUCKETS - 1
      return
    }
    const pairs = this.#pairs
    let hole = hash & this.#mask
    while (pairs[hole * 2 + 1] !== reference) hole = (hole + 1) & this.#mask
    // Those behind move up, as far as their own first bucket allows: no marks of the dead are left to probe
    // over.
    for (let bucket = (hole + 1) & this.#mask; ; bucket = (bucket + 1) & this.#mask) {
      if (pairs[bucket * 2 + 1] === ABSENT) break
      const home = pairs[bucket * 2]! & this.#mask
      if (((bucket - home) & this.#mask) < ((bucket - hole) & this.#mask)) continue
      pairs[hole * 2] = pairs[bucket * 2]!
      pairs[hole * 2 + 1] = pairs[bucket * 2 + 1]!
      hole = bucket
    }
    pairs[hole * 2 + 1] = ABSENT
  }

  #put(hash: number, reference: number): void {
    let bucket = hash & this.#mask
    while (this.#pairs[bucket * 2 + 1] !== ABSENT) bucket = (bucket + 1) & this.#mask
    this.#pairs[bucket * 2] = hash
    this.#pairs[bucket * 2 + 1] = reference
  }

  #grow(): void {
    const pairs = this.#pairs
    this.#pairs = new Uint32Array(pairs.length * 2).fill(ABSENT)
    this.#mask = pairs.length - 1
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at + 1] !== ABSENT) this.#put(pairs[at]!, pairs[at + 1]!)
    }
  }
}
