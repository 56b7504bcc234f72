/** Buffers that are kept when nobody uses them. */
const KEPT_MAX = 8
/** Smaller ones come from the pool of Node itself. */
const POOLED_BYTES_MIN = 16 * 1024

/**
 * Memory for payload that goes out with an RPC, used again while it is still in the cache of the processor: a
 * new buffer for each would be paid for in page faults.
 */
export class SendBuffers {
  readonly #free: Buffer[] = []
  readonly #bytesMax: number

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Of at least that many bytes, which are at most `bytesMax`. */
  take(byteLength: number): Buffer {
    if (byteLength < POOLED_BYTES_MIN) return Buffer.allocUnsafe(byteLength)
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytesMax)
  }

  giveBack(buffer: Buffer): void {
    if (buffer.byteLength === this.#bytesMax && this.#free.length < KEPT_MAX) this.#free.push(buffer)
  }
}
