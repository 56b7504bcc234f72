import { mulberry32 } from './workload.js'

const HEADER_BYTES = 16
const POOL_BYTES = 16 * 2 ** 20
/**
 * Contents of two blocks begin at least this far apart in the pool, or at the same place with another header.
 */
const STEP_BYTES = 64

/**
 * The bytes of every block, from its id alone: a header that names it, then a stretch of a pool of random
 * bytes that begins somewhere else for every id. So what was read can be checked byte by byte without keeping
 * what was put, and bytes of two blocks mixed together show.
 */
export class BlockContent {
  readonly blockBytes: number
  readonly #pool: Buffer

  /** @param blockBytes at least 16 */
  constructor(blockBytes: number, seed = 42) {
    this.blockBytes = blockBytes
    this.#pool = Buffer.allocUnsafe(POOL_BYTES + blockBytes)
    const random = mulberry32(seed)
    for (let at = 0; at + 4 <= this.#pool.byteLength; at += 4)
      this.#pool.writeUInt32LE(random() * 2 ** 32, at)
  }

  /** Writes the block into `target`, which has `blockBytes` bytes. */
  fill(id: number, target: Uint8Array): void {
    target.set(header(id))
    const start = this.#startOf(id)
    this.#pool.copy(target, HEADER_BYTES, start, start + this.blockBytes - HEADER_BYTES)
  }

  /** Whether these are the bytes of the block, all of them. */
  matches(id: number, bytes: Uint8Array): boolean {
    if (bytes.byteLength !== this.blockBytes) return false
    const start = this.#startOf(id)
    const body = this.#pool.subarray(start, start + this.blockBytes - HEADER_BYTES)
    return (
      Buffer.compare(header(id), bytes.subarray(0, HEADER_BYTES)) === 0 &&
      body.equals(bytes.subarray(HEADER_BYTES))
    )
  }

  #startOf(id: number): number {
    const spread = Math.imul(id ^ 0x9e3779b9, 0x85ebca6b) >>> 0
    return (spread % (POOL_BYTES / STEP_BYTES)) * STEP_BYTES
  }
}

function header(id: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES, 0x4b)
  bytes.writeDoubleLE(id, 0)
  return bytes
}
