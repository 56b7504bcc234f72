import { MooncakeError } from '@mooncake-ts/core'

/**
 * Every frame, big-endian:
 *
 *     0  u8   'M'
 *     1  u8   layout of this header, 1
 *     2  u8   kind
 *     3  u8   flags; none yet, ignored
 *     4  u32  request id; 0 where the kind has none
 *     8  u32  bytes of the body
 *    12  u32  REQUEST: what is left of its deadline in ms; else 0
 *    16  body, msgpack
 */
export const HEADER_BYTES = 16
const MAGIC = 0x4d
const LAYOUT = 1

export const FrameKind = Object.freeze({
  /** Versions, features, nonce. First frame in both directions. */
  hello: 1,
  /** Proof of the cluster secret. Second frame in both directions, the client's first. */
  proof: 2,
  /** `[method, traceId, request]` */
  request: 3,
  /** What the handler returned. */
  response: 4,
  /** `{ code, message, retryable }` */
  failure: 5,
  /** The caller waits no longer. No body. */
  cancel: 6,
  /** `{ code, message }`: the sender is about to close; the receiver begins nothing new. */
  goodbye: 7,
  /** Are you there? No body. */
  ping: 8,
  pong: 9,
})

export interface Frame {
  readonly kind: number
  readonly id: number
  readonly deadlineMs: number
  /** A view on what the socket received. */
  readonly body: Buffer
}

/** `frame` has room for the header before its body. */
export function writeHeader(frame: Buffer, kind: number, id: number, deadlineMs: number): void {
  frame[0] = MAGIC
  frame[1] = LAYOUT
  frame[2] = kind
  frame[3] = 0
  frame.writeUInt32BE(id, 4)
  frame.writeUInt32BE(frame.length - HEADER_BYTES, 8)
  frame.writeUInt32BE(deadlineMs, 12)
}

/** Cuts a stream of bytes into frames, wherever its chunks happen to end. */
export class FrameReader {
  /**
   * Raised when the peer has proven who it is. Checked on the header, before any byte of the body is kept.
   */
  frameBytesMax: number
  #chunks: Buffer[] = []
  #bytes = 0
  /** Bytes that must be there before looking again is worth it. */
  #wanted = HEADER_BYTES

  constructor(frameBytesMax: number) {
    this.frameBytesMax = frameBytesMax
  }

  /** Bytes of a frame that has not arrived whole. */
  get pendingBytes(): number {
    return this.#bytes
  }

  /**
   * Calls `onFrame` for each frame that is whole now, until it returns false.
   * @throws ERR_PROTOCOL
   */
  push(chunk: Buffer, onFrame: (frame: Frame) => boolean): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#wanted) return
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes)
    let offset = 0
    this.#wanted = HEADER_BYTES
    while (bytes.length - offset >= HEADER_BYTES) {
      const bodyBytes = this.#checkHeader(bytes, offset)
      const end = offset + HEADER_BYTES + bodyBytes
      if (end > bytes.length) {
        this.#wanted = end - offset
        break
      }
      const more = onFrame({
        kind: bytes[offset + 2]!,
        id: bytes.readUInt32BE(offset + 4),
        deadlineMs: bytes.readUInt32BE(offset + 12),
        body: bytes.subarray(offset + HEADER_BYTES, end),
      })
      offset = end
      if (!more) break
    }
    this.#chunks = offset === bytes.length ? [] : [bytes.subarray(offset)]
    this.#bytes = bytes.length - offset
  }

  #checkHeader(bytes: Buffer, offset: number): number {
    if (bytes[offset] !== MAGIC) throw new MooncakeError('ERR_PROTOCOL', 'The bytes begin no frame')
    if (bytes[offset + 1] !== LAYOUT) {
      throw new MooncakeError('ERR_PROTOCOL', `Frame header of unknown layout ${bytes[offset + 1]}`)
    }
    const bodyBytes = bytes.readUInt32BE(offset + 8)
    if (bodyBytes > this.frameBytesMax) {
      const message = `A frame of ${bodyBytes} bytes was announced, the limit is ${this.frameBytesMax}`
      throw new MooncakeError('ERR_PROTOCOL', message)
    }
    return bodyBytes
  }
}
