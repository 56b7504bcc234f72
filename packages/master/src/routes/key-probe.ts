import { hashOf } from './key-hash.js'

const INITIAL_BYTES = 4096
/** Of UTF-8, for one UTF-16 unit. */
const BYTES_PER_UNIT_MAX = 3

/**
 * A key that is looked for: a range of bytes and its hash. One object serves many keys, so that a key of a
 * packed request costs no string and no allocation.
 */
export class KeyProbe {
  #scratch = Buffer.allocUnsafe(INITIAL_BYTES)
  #view = viewOf(this.#scratch)
  bytes = this.#view
  start = 0
  end = 0
  hash = 0

  /** @returns this object */
  ofBytes(bytes: DataView, start: number, end: number): this {
    this.set(bytes, start, end, hashOf(bytes, start, end))
    return this
  }

  /** With a hash that is known already. */
  set(bytes: DataView, start: number, end: number, hash: number): void {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.hash = hash
  }

  /** @returns this object */
  ofText(key: string): this {
    if (key.length * BYTES_PER_UNIT_MAX > this.#scratch.byteLength) {
      this.#scratch = Buffer.allocUnsafe(key.length * BYTES_PER_UNIT_MAX)
      this.#view = viewOf(this.#scratch)
    }
    return this.ofBytes(this.#view, 0, this.#scratch.write(key, 'utf8'))
  }

  text(): string {
    const { buffer, byteOffset } = this.bytes
    return Buffer.from(buffer, byteOffset + this.start, this.end - this.start).toString('utf8')
  }
}

/** Four bytes are read from it at once, wherever they begin. */
export function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}
