import type { IoEngine } from '@mooncake-ts/io-uring'
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX, sealFrame } from './index-record.js'
import { ioError, resultOf } from './io.js'

/** Written at a time. */
const BUFFER_BYTES = 256 * 1024

/** Packs records into frames, in one buffer, and writes them where the last write that succeeded ended. */
export class FrameWriter {
  readonly #engine: IoEngine
  readonly #seed: number
  readonly #buffer = Buffer.alloc(BUFFER_BYTES)
  readonly #slot: number
  #frameStart = 0
  #end = FRAME_HEADER_BYTES

  constructor(engine: IoEngine, seed: number) {
    this.#engine = engine
    this.#seed = seed
    this.#slot = engine.attach(this.#buffer)
  }

  /** False when the buffer is full: `write` it first. */
  add(record: Buffer): boolean {
    const payloadBytes = this.#end - this.#frameStart - FRAME_HEADER_BYTES + record.length
    const opensFrame = payloadBytes > FRAME_PAYLOAD_BYTES_MAX
    if (this.#end + record.length + (opensFrame ? FRAME_HEADER_BYTES : 0) > BUFFER_BYTES) return false
    if (opensFrame) {
      sealFrame(this.#buffer, this.#frameStart, this.#end, this.#seed)
      this.#frameStart = this.#end
      this.#end += FRAME_HEADER_BYTES
    }
    record.copy(this.#buffer, this.#end)
    this.#end += record.length
    return true
  }

  /** Gives the bytes written, and is empty then, however it ended. @throws ERR_IO, ERR_NO_SPACE */
  async write(fd: number, position: number): Promise<number> {
    if (this.#end === FRAME_HEADER_BYTES) return 0
    sealFrame(this.#buffer, this.#frameStart, this.#end, this.#seed)
    const bytes = this.#end
    this.#frameStart = 0
    this.#end = FRAME_HEADER_BYTES
    const result = await resultOf(done =>
      this.#engine.inline.write(fd, [this.#slot, 0, bytes], position, done),
    )
    if (result !== bytes) throw ioError('The index cannot be written', result, bytes)
    return bytes
  }

  close(): void {
    this.#engine.detach(this.#slot)
  }
}
