import { MooncakeError } from '@mooncake-ts/core'
import { Attachment } from './attachment.js'

/**
 * Every frame, big-endian:
 *
 *     0  u8   'M'
 *     1  u8   layout of this header, 1
 *     2  u8   kind
 *     3  u8   flags: 1 where bytes are attached; others are ignored
 *     4  u32  request id; 0 where the kind has none
 *     8  u32  bytes of the body
 *    12  u32  REQUEST: what is left of its deadline in ms; else 0
 *    16  u32  bytes attached, only where the flag says so
 *    ..  body, msgpack
 *    ..  the attached bytes, as they are
 */
export const HEADER_BYTES = 16
/** Where bytes are attached. */
export const LONG_HEADER_BYTES = 20
const FLAG_ATTACHED = 1
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
  /** Of a connection that moves to a carrier, after the proofs; see `move.ts`. */
  carry: 10,
})

export interface Frame {
  readonly kind: number
  readonly id: number
  readonly deadlineMs: number
  /** A view on what the socket received. */
  readonly body: Buffer
  /** Its bytes may come later. */
  readonly attachment?: Attachment
}

/** `frame` has room for the header before its body: the long one where bytes are attached. */
export function writeHeader(
  frame: Buffer,
  kind: number,
  id: number,
  deadlineMs: number,
  attachedBytes?: number,
): void {
  frame[0] = MAGIC
  frame[1] = LAYOUT
  frame[2] = kind
  frame[3] = attachedBytes == null ? 0 : FLAG_ATTACHED
  frame.writeUInt32BE(id, 4)
  frame.writeUInt32BE(frame.length - (attachedBytes == null ? HEADER_BYTES : LONG_HEADER_BYTES), 8)
  frame.writeUInt32BE(deadlineMs, 12)
  if (attachedBytes != null) frame.writeUInt32BE(attachedBytes, HEADER_BYTES)
}

/** Cuts a stream of bytes into frames, wherever its chunks happen to end. */
export class FrameReader {
  /**
   * Raised when the peer has proven who it is. Checked on the header, before any byte of the body is kept.
   */
  frameBytesMax: number
  readonly #borrowed: boolean
  #chunks: Buffer[] = []
  #bytes = 0
  /** Bytes that must be there before looking again is worth it. */
  #wanted = HEADER_BYTES
  /** What the next bytes belong to. */
  #attachment: Attachment | undefined

  /** @param options.borrowed chunks are used again when `push` has returned */
  constructor(frameBytesMax: number, options: { readonly borrowed?: boolean } = {}) {
    this.frameBytesMax = frameBytesMax
    this.#borrowed = options.borrowed === true
  }

  /** True in the middle of a frame or of what is attached to it. */
  get pending(): boolean {
    return this.#bytes > 0 || this.#attachment != null
  }

  /**
   * Calls `onFrame` for each frame whose body is whole now, until it returns false.
   * @throws ERR_PROTOCOL
   */
  push(chunk: Buffer, onFrame: (frame: Frame) => boolean): void {
    const rest = this.#attachment == null ? chunk : this.#pour(chunk, 0)
    if (rest.length === 0) return
    this.#bytes += rest.length
    if (this.#bytes < this.#wanted) {
      this.#keep(rest)
      return
    }
    let bytes = this.#chunks.length === 0 ? rest : Buffer.concat([...this.#chunks, rest], this.#bytes)
    this.#chunks = []
    this.#bytes = 0
    this.#wanted = HEADER_BYTES
    let more = true
    while (more && bytes.length >= HEADER_BYTES) {
      const { bodyAt, bodyBytes, attachedBytes } = this.#readHeader(bytes)
      const end = bodyAt + bodyBytes
      if (end > bytes.length) {
        this.#wanted = end
        break
      }
      if (attachedBytes > 0) this.#attachment = new Attachment(attachedBytes)
      more = onFrame({
        kind: bytes[2]!,
        id: bytes.readUInt32BE(4),
        deadlineMs: bytes.readUInt32BE(12),
        body: bytes.subarray(bodyAt, end),
        ...(this.#attachment == null ? {} : { attachment: this.#attachment }),
      })
      bytes = this.#attachment == null ? bytes.subarray(end) : this.#pour(bytes, end)
    }
    this.#bytes = bytes.length
    if (bytes.length > 0) this.#keep(bytes)
  }

  /** Nothing more will come. */
  fail(error: MooncakeError): void {
    this.#attachment?.drop(error)
  }

  #keep(bytes: Buffer): void {
    this.#chunks.push(this.#borrowed ? Buffer.from(bytes) : bytes)
  }

  /** Gives what belongs to the attachment to it, and the rest back. */
  #pour(bytes: Buffer, at: number): Buffer {
    const attachment = this.#attachment!
    const end = Math.min(bytes.length, at + attachment.missing)
    if (attachment.missing === end - at) this.#attachment = undefined
    if (end > at) attachment.push(bytes.subarray(at, end))
    return bytes.subarray(end)
  }

  #readHeader(bytes: Buffer): { bodyAt: number; bodyBytes: number; attachedBytes: number } {
    if (bytes[0] !== MAGIC) throw new MooncakeError('ERR_PROTOCOL', 'The bytes begin no frame')
    if (bytes[1] !== LAYOUT) {
      throw new MooncakeError('ERR_PROTOCOL', `Frame header of unknown layout ${bytes[1]}`)
    }
    const bodyBytes = bytes.readUInt32BE(8)
    const attached = (bytes[3]! & FLAG_ATTACHED) !== 0
    const known = attached && bytes.length >= LONG_HEADER_BYTES
    const attachedBytes = known ? bytes.readUInt32BE(HEADER_BYTES) : 0
    if (bodyBytes + attachedBytes > this.frameBytesMax) {
      const message = `A frame of ${bodyBytes + attachedBytes} bytes was announced, the limit is ${this.frameBytesMax}`
      throw new MooncakeError('ERR_PROTOCOL', message)
    }
    return { bodyAt: attached ? LONG_HEADER_BYTES : HEADER_BYTES, bodyBytes, attachedBytes }
  }
}
