import { asMooncakeError, KIB, MIB, type CopyPool, type Slice } from '@mooncake-ts/core'

interface Asked {
  readonly slice: Slice
  readonly answer: (checksum: number | undefined, error?: Error) => void
}

/** Above it a slice is for the threads of the copy pool; below, waking them takes longer than the work. */
const NOW_BYTES_MAX = 256 * KIB
/** Of all slices of one turn: nothing else happens meanwhile, and many turns may follow each other. */
const NOW_TOTAL_BYTES_MAX = MIB

/** CRC-32C of slices. What is asked for in one turn goes to the copy pool in one call. */
export class Checksums {
  readonly #pool: CopyPool
  #asked: Asked[] = []

  constructor(pool: CopyPool) {
    this.#pool = pool
  }

  /** `answer` is called once, when the slice is not touched any more. */
  of(slice: Slice, answer: Asked['answer']): void {
    if (this.#asked.push({ slice, answer }) === 1) queueMicrotask(this.#send)
  }

  readonly #send = (): void => {
    const asked = this.#asked
    this.#asked = []
    void this.#answer(asked)
  }

  async #answer(asked: readonly Asked[]): Promise<void> {
    let checksums: Uint32Array
    try {
      const slices = asked.map(({ slice }) => slice)
      checksums = areFew(slices) ? this.#pool.checksumNow(slices) : await this.#pool.checksum(slices)
    } catch (error) {
      // One bad slice, such as that of a region that was closed meanwhile, must not fail the others.
      if (asked.length === 1) asked[0]!.answer(undefined, asMooncakeError(error))
      else await Promise.all(asked.map(one => this.#answer([one])))
      return
    }
    asked.forEach(({ answer }, i) => {
      answer(checksums[i])
    })
  }
}

function areFew(slices: readonly Slice[]): boolean {
  let totalBytes = 0
  for (const { byteLength } of slices) {
    if (byteLength > NOW_BYTES_MAX) return false
    totalBytes += byteLength
  }
  return totalBytes <= NOW_TOTAL_BYTES_MAX
}
