import type { KeyProbe } from './key-probe.js'

/** A reference counts cells, so that 32 bits reach 32 GiB. */
const CELL_BYTES = 8
const CELL_SHIFT = Math.log2(CELL_BYTES)
const WORDS_PER_CELL = 2
/** Large, so that the descriptions of all chunks stay in the processor's cache; untouched pages cost nothing. */
const CHUNK_BYTES = 2 ** 23
const CELLS_PER_CHUNK = CHUNK_BYTES / CELL_BYTES
const CHUNK_SHIFT = Math.log2(CELLS_PER_CHUNK)
const CELL_MASK = CELLS_PER_CHUNK - 1

const CHUNK_WORD_MASK = CHUNK_BYTES / 4 - 1
const CACHE_LINE_WORDS = 16

// An entry: words of 32 bits, then two doubles, then the bytes of the key.
/** Of the key, with `FREE` where the entry is not in use. */
const KEY_BYTES = 0
const SEGMENT = 1
const STAMP = 2
const HASH = 3
/** In doubles, which are as large as cells. */
const BYTE_LENGTH = 2
const GENERATION = 3
const HEADER_BYTES = 32

const FREE = 0x8000_0000
const LENGTH_MASK = 0xffff
/** In place of an entry: the rest of the chunk is not used. */
const REST = 0xffff_ffff
/** In place of a reference: the end of a list of free entries. */
const NONE = 0xffff_ffff

/** Views of the same bytes. */
interface Chunk {
  readonly bytes: Buffer
  readonly view: DataView
  readonly words: Uint32Array
  readonly doubles: Float64Array
}

/**
 * What the table knows of each key, with the bytes of the key itself, outside of V8's heap: there the string
 * of a key of 64 bytes takes 88, and every full garbage collection visits it. An entry lies in one piece,
 * because at millions of keys each place that is read costs a miss of the cache; an entry of 64 bytes of key
 * takes 96. It never moves, and nothing is copied to grow: chunks are added.
 *
 * Freed entries are kept in a list for each number of cells, and given to keys of the same length; an entry
 * never becomes a shorter one, so all of them can be visited in the order of their place. The memory is at
 * most the sum of what each length of keys needed at its peak, and all of it is given back with the last key.
 */
export class RouteArena {
  #chunks: Chunk[] = []
  /** Cells up to which entries have been made. */
  #end = 0
  /** First free entry, by its number of cells; it names the next where a used one names its segment. */
  #free: number[] = []
  #count = 0
  #era = 0

  /** Grows when everything was given back: references of before mean nothing then. */
  get era(): number {
    return this.#era
  }

  /** Entries lie below. */
  get end(): number {
    return this.#end
  }

  /** Copies the key that is looked for; the other fields are to be set. */
  allocate({ bytes, start, end, hash }: KeyProbe): number {
    const cells = cellsOf(end - start)
    const reference = this.#take(cells) ?? this.#extend(cells)
    const chunk = this.#chunkOf(reference)
    const word = wordOf(reference)
    chunk.words[word + KEY_BYTES] = end - start
    chunk.words[word + HASH] = hash
    const offset = byteOf(reference) + HEADER_BYTES - start
    let at = start
    for (; at + 4 <= end; at += 4) chunk.view.setInt32(offset + at, bytes.getInt32(at))
    for (; at < end; at++) chunk.view.setUint8(offset + at, bytes.getUint8(at))
    this.#count++
    return reference
  }

  free(reference: number): void {
    if (--this.#count === 0) {
      this.#chunks = []
      this.#end = 0
      this.#free = []
      this.#era++
      return
    }
    const { words } = this.#chunkOf(reference)
    const word = wordOf(reference)
    const cells = cellsOf(words[word + KEY_BYTES]!)
    words[word + KEY_BYTES]! |= FREE
    words[word + SEGMENT] = this.#free[cells] ?? NONE
    this.#free[cells] = reference
  }

  /** Only reads the entry, so that it is in the cache afterwards. */
  touch(reference: number): number {
    const { words } = this.#chunkOf(reference)
    const word = wordOf(reference)
    return words[word]! ^ words[(word + CACHE_LINE_WORDS) & CHUNK_WORD_MASK]!
  }

  holds(reference: number, { bytes, start, end }: KeyProbe): boolean {
    const chunk = this.#chunkOf(reference)
    if (chunk.words[wordOf(reference) + KEY_BYTES] !== end - start) return false
    const offset = byteOf(reference) + HEADER_BYTES - start
    let at = start
    for (; at + 4 <= end; at += 4) if (chunk.view.getInt32(offset + at) !== bytes.getInt32(at)) return false
    for (; at < end; at++) if (chunk.view.getUint8(offset + at) !== bytes.getUint8(at)) return false
    return true
  }

  key(reference: number): string {
    const { bytes, words } = this.#chunkOf(reference)
    const from = byteOf(reference) + HEADER_BYTES
    return bytes.toString('utf8', from, from + words[wordOf(reference) + KEY_BYTES]!)
  }

  hash(reference: number): number {
    return this.#word(reference, HASH)
  }

  segment(reference: number): number {
    return this.#word(reference, SEGMENT)
  }

  stamp(reference: number): number {
    return this.#word(reference, STAMP)
  }

  byteLength(reference: number): number {
    return this.#chunkOf(reference).doubles[(reference & CELL_MASK) + BYTE_LENGTH]!
  }

  generation(reference: number): number {
    return this.#chunkOf(reference).doubles[(reference & CELL_MASK) + GENERATION]!
  }

  setPlace(reference: number, segment: number, stamp: number): void {
    const { words } = this.#chunkOf(reference)
    words[wordOf(reference) + SEGMENT] = segment
    words[wordOf(reference) + STAMP] = stamp
  }

  setObject(reference: number, byteLength: number, generation: number): void {
    const { doubles } = this.#chunkOf(reference)
    doubles[(reference & CELL_MASK) + BYTE_LENGTH] = byteLength
    doubles[(reference & CELL_MASK) + GENERATION] = generation
  }

  /**
   * Visits the entries in use from `from` on, in the order of their place. The visitor may free what it
   * visits.
   *
   * @param from 0, or what an earlier call gave in the same era
   * @param entriesMax counts free ones, too
   * @returns where to go on; `end` or more: that was all
   */
  visit(from: number, entriesMax: number, visit: (reference: number) => void): number {
    let reference = from
    for (let left = entriesMax; left > 0 && reference < this.#end; left--) {
      const length = this.#word(reference, KEY_BYTES)
      if (length === REST) {
        reference = (reference | CELL_MASK) + 1
        continue
      }
      const next = reference + cellsOf(length & LENGTH_MASK)
      if ((length & FREE) === 0) visit(reference)
      reference = next
    }
    return reference
  }

  /**
   * As `visit`, for the entries whose segment has this state and no others: with what is in a chunk at hand, because
   * the loss of a node goes through all entries for the sake of a few.
   */
  visitSegments(
    from: number,
    entriesMax: number,
    states: Uint8Array,
    state: number,
    visit: (reference: number) => void,
  ): number {
    let reference = from
    for (let left = entriesMax; left > 0 && reference < this.#end;) {
      const { words } = this.#chunkOf(reference)
      const first = reference - (reference & CELL_MASK)
      const cellsEnd = Math.min(CELLS_PER_CHUNK, this.#end - first)
      let cell = reference & CELL_MASK
      for (; left > 0 && cell < cellsEnd; left--) {
        const word = cell * WORDS_PER_CELL
        const length = words[word + KEY_BYTES]!
        if (length === REST) {
          cell = CELLS_PER_CHUNK
          break
        }
        if ((length & FREE) === 0 && states[words[word + SEGMENT]!] === state) visit(first + cell)
        cell += (HEADER_BYTES + (length & LENGTH_MASK) + CELL_BYTES - 1) >> CELL_SHIFT
      }
      reference = first + cell
    }
    return reference
  }

  /** The first entry at or after a place that may be anywhere, as a cursor from outside. */
  align(place: number): number {
    if (place >= this.#end) return this.#end
    let reference = place - (place % CELLS_PER_CHUNK)
    while (reference < place) reference = this.visit(reference, 1, () => {})
    return reference
  }

  #take(cells: number): number | undefined {
    const reference = this.#free[cells] ?? NONE
    if (reference === NONE) return undefined
    this.#free[cells] = this.segment(reference)
    return reference
  }

  #extend(cells: number): number {
    const left = this.#chunks.length * CELLS_PER_CHUNK - this.#end
    if (left < cells) {
      if (left > 0) this.#chunkOf(this.#end).words[wordOf(this.#end) + KEY_BYTES] = REST
      this.#end += left
      const bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES)
      const { buffer } = bytes
      const [words, doubles] = [new Uint32Array(buffer), new Float64Array(buffer)]
      this.#chunks.push({ bytes, view: new DataView(buffer), words, doubles })
    }
    const reference = this.#end
    this.#end += cells
    return reference
  }

  #word(reference: number, field: number): number {
    return this.#chunkOf(reference).words[wordOf(reference) + field]!
  }

  #chunkOf(reference: number): Chunk {
    return this.#chunks[reference >>> CHUNK_SHIFT]!
  }
}

function wordOf(reference: number): number {
  return (reference & CELL_MASK) * WORDS_PER_CELL
}

function byteOf(reference: number): number {
  return (reference & CELL_MASK) * CELL_BYTES
}

function cellsOf(keyBytes: number): number {
  return Math.ceil((HEADER_BYTES + keyBytes) / CELL_BYTES)
}
