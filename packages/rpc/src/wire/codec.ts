import { Packr, RESERVE_START_SPACE, type Options } from 'msgpackr'
import { MooncakeError, asMooncakeError } from '@mooncake-ts/core'
import { HEADER_BYTES, LONG_HEADER_BYTES, writeHeader } from './frame.js'

/**
 * Plain msgpack, readable by any implementation. Without records the packer keeps no state between messages,
 * so one serves all connections. Byte fields are copied out of what the socket received: else 32 bytes kept
 * for long would hold 64 KiB.
 */
const OPTIONS: Options & { readonly skipValues: readonly unknown[] } = {
  useRecords: false,
  int64AsType: 'number',
  copyBuffers: true,
  skipValues: [undefined],
}
const packr = new Packr(OPTIONS)
/** For what lives no longer than a request: a copy of 8 KiB outside of V8's heap for each batch of keys made it collect all. */
const lender = new Packr({ ...OPTIONS, copyBuffers: false })

/**
 * One buffer with header and body.
 * @throws ERR_INVALID_PARAMS for what msgpack cannot hold
 */
export function encodeFrame(
  kind: number,
  id: number,
  deadlineMs: number,
  body: unknown,
  attachedBytes?: number,
): Buffer {
  const headerBytes = attachedBytes == null ? HEADER_BYTES : LONG_HEADER_BYTES
  let frame: Buffer
  try {
    frame = packr.pack(body, RESERVE_START_SPACE | headerBytes)
  } catch (cause) {
    const reason = asMooncakeError(cause).message
    throw new MooncakeError('ERR_INVALID_PARAMS', `The message cannot be encoded: ${reason}`, { cause })
  }
  writeHeader(frame, kind, id, deadlineMs, attachedBytes)
  return frame
}

/** Bytes to be sent behind a message. */
export interface Attached {
  readonly bytes: Uint8Array
  /** Called once: the service does not need them any more. */
  readonly onSent: () => void
}

/**
 * A frame that announces an attachment of so many bytes.
 * @throws ERR_INVALID_PARAMS for what msgpack cannot hold, or is larger than the peer takes
 */
export function encodeMessage(
  { kind, id, deadlineMs }: { readonly kind: number; readonly id: number; readonly deadlineMs: number },
  body: unknown,
  attachedBytes: number | undefined,
  bytesMax: number,
): Buffer {
  const frame = encodeFrame(kind, id, deadlineMs, body, attachedBytes)
  const bytes = frame.length - HEADER_BYTES + (attachedBytes ?? 0)
  if (bytes <= bytesMax) return frame
  throw new MooncakeError('ERR_INVALID_PARAMS', `The message has ${bytes} bytes, the peer takes ${bytesMax}`)
}

export function encodeEmptyFrame(kind: number, id: number): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES)
  writeHeader(frame, kind, id, 0)
  return frame
}

/** @throws ERR_PROTOCOL */
export function decodeBody(body: Buffer): unknown {
  return decodeWith(packr, body)
}

/** As `decodeBody`, with byte fields that lie in `body`, and keep all of what the socket received. @throws ERR_PROTOCOL */
export function decodeLent(body: Buffer): unknown {
  return decodeWith(lender, body)
}

function decodeWith(decoder: Packr, body: Buffer): unknown {
  try {
    return decoder.unpack(body)
  } catch (cause) {
    const reason = asMooncakeError(cause).message
    throw new MooncakeError('ERR_PROTOCOL', `The body of a frame is not msgpack: ${reason}`, { cause })
  }
}
