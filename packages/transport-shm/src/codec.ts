/**
 * Messages after the handshake, little-endian; the first byte is the type. C: from the one that connected,
 * S: from the one that listens.
 *
 *     MAP      C     1 f64 regionId   9 key[20]              asks for a region that a window lies in
 *     REGION   C S   1 f64 regionId   9 f64 byteLength       with its descriptor: to be mapped
 *     GONE     C S   1 f64 regionId                          not, or not any more
 *     PULL     C     entries of 56 bytes: u32 id, key[20], f64 offset in the window, f64 regionId, f64 offset
 *                    in the region, f64 byteLength           copy this from my memory to yours
 *     CANCEL   C     u32 ids                                 unless it has begun
 *     STAGE    C     1 u32 id   5 key[20]   25 f64 offset   33 f64 byteLength
 *                                                            copy this out of private memory to where I can
 *                                                            read it
 *     STAGED   S     1 u32 id   5 u8 code   6 f64 regionId   14 f64 offset
 *     UNSTAGE  C     1 u32 id                                I have read it, or do not want it any more
 *     DONE     S     entries of 5 bytes: u32 id, u8 code     of PULL
 */
import { MooncakeError, type ErrorCode } from '@mooncake-ts/core'
import { MESSAGE_BYTES_MAX } from './channel.js'
import { KEY_BYTES } from './grant-table.js'

export const MessageType = {
  map: 10,
  region: 11,
  gone: 12,
  pull: 13,
  cancel: 14,
  stage: 15,
  staged: 16,
  unstage: 17,
  done: 18,
} as const

/** What a peer may answer; by index. The first is success. */
const CODES = [
  undefined,
  'ERR_ACCESS_DENIED',
  'ERR_TRANSFER_FAIL',
  'ERR_OVERLOADED',
  'ERR_REGION_CLOSED',
  'ERR_SHUTTING_DOWN',
  'ERR_SLICE_OUT_OF_BOUNDS',
] as const satisfies ReadonlyArray<ErrorCode | undefined>

export function encodeResult(error: MooncakeError | undefined): number {
  if (error == null) return 0
  const code = (CODES as ReadonlyArray<ErrorCode | undefined>).indexOf(error.code)
  return code > 0 ? code : CODES.indexOf('ERR_TRANSFER_FAIL')
}

export function decodeResult(code: number): MooncakeError | undefined {
  if (code === 0) return undefined
  return new MooncakeError(CODES[code] ?? 'ERR_TRANSFER_FAIL')
}

export interface Pull {
  readonly id: number
  readonly key: Uint8Array
  /** In the window. */
  readonly windowOffset: number
  readonly regionId: number
  readonly regionOffset: number
  readonly byteLength: number
}

const PULL_BYTES = 4 + KEY_BYTES + 4 * 8
const DONE_BYTES = 5

export function encodeMap(regionId: number, key: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(9 + KEY_BYTES)
  message.writeUInt8(MessageType.map)
  message.writeDoubleLE(regionId, 1)
  message.set(key, 9)
  return message
}

export function decodeMap(message: Buffer): { regionId: number; key: Buffer } {
  return { regionId: message.readDoubleLE(1), key: Buffer.from(message.subarray(9)) }
}

export function encodeRegion(regionId: number, byteLength: number): Buffer {
  const message = Buffer.allocUnsafe(17)
  message.writeUInt8(MessageType.region)
  message.writeDoubleLE(regionId, 1)
  message.writeDoubleLE(byteLength, 9)
  return message
}

export function decodeRegion(message: Buffer): { regionId: number; byteLength: number } {
  return { regionId: message.readDoubleLE(1), byteLength: message.readDoubleLE(9) }
}

export function encodeGone(regionId: number): Buffer {
  const message = Buffer.allocUnsafe(9)
  message.writeUInt8(MessageType.gone)
  message.writeDoubleLE(regionId, 1)
  return message
}

export function decodeGone(message: Buffer): number {
  return message.readDoubleLE(1)
}

/** As many messages as it takes. */
export function encodePulls(pulls: readonly Pull[]): Buffer[] {
  return inMessages(MessageType.pull, pulls, PULL_BYTES, (message, at, pull) => {
    message.writeUInt32LE(pull.id, at)
    message.set(pull.key, at + 4)
    const numbers = at + 4 + KEY_BYTES
    message.writeDoubleLE(pull.windowOffset, numbers)
    message.writeDoubleLE(pull.regionId, numbers + 8)
    message.writeDoubleLE(pull.regionOffset, numbers + 16)
    message.writeDoubleLE(pull.byteLength, numbers + 24)
  })
}

export function decodePulls(message: Buffer): Pull[] {
  return entriesOf(message, PULL_BYTES, at => {
    const numbers = at + 4 + KEY_BYTES
    return {
      id: message.readUInt32LE(at),
      key: Buffer.from(message.subarray(at + 4, numbers)),
      windowOffset: message.readDoubleLE(numbers),
      regionId: message.readDoubleLE(numbers + 8),
      regionOffset: message.readDoubleLE(numbers + 16),
      byteLength: message.readDoubleLE(numbers + 24),
    }
  })
}

export function encodeCancels(ids: readonly number[]): Buffer[] {
  return inMessages(MessageType.cancel, ids, 4, (message, at, id) => {
    message.writeUInt32LE(id, at)
  })
}

export function decodeCancels(message: Buffer): number[] {
  return entriesOf(message, 4, at => message.readUInt32LE(at))
}

export interface Done {
  readonly id: number
  readonly error: MooncakeError | undefined
}

export function encodeDones(dones: readonly Done[]): Buffer[] {
  return inMessages(MessageType.done, dones, DONE_BYTES, (message, at, { id, error }) => {
    message.writeUInt32LE(id, at)
    message.writeUInt8(encodeResult(error), at + 4)
  })
}

export function decodeDones(message: Buffer): Done[] {
  return entriesOf(message, DONE_BYTES, at => ({
    id: message.readUInt32LE(at),
    error: decodeResult(message.readUInt8(at + 4)),
  }))
}

export interface Stage {
  readonly id: number
  readonly key: Uint8Array
  readonly offset: number
  readonly byteLength: number
}

export function encodeStage({ id, key, offset, byteLength }: Stage): Buffer {
  const message = Buffer.allocUnsafe(5 + KEY_BYTES + 16)
  message.writeUInt8(MessageType.stage)
  message.writeUInt32LE(id, 1)
  message.set(key, 5)
  message.writeDoubleLE(offset, 5 + KEY_BYTES)
  message.writeDoubleLE(byteLength, 13 + KEY_BYTES)
  return message
}

export function decodeStage(message: Buffer): Stage {
  return {
    id: message.readUInt32LE(1),
    key: Buffer.from(message.subarray(5, 5 + KEY_BYTES)),
    offset: message.readDoubleLE(5 + KEY_BYTES),
    byteLength: message.readDoubleLE(13 + KEY_BYTES),
  }
}

export interface Staged {
  readonly id: number
  readonly error: MooncakeError | undefined
  readonly regionId: number
  readonly offset: number
}

export function encodeStaged({ id, error, regionId, offset }: Staged): Buffer {
  const message = Buffer.allocUnsafe(22)
  message.writeUInt8(MessageType.staged)
  message.writeUInt32LE(id, 1)
  message.writeUInt8(encodeResult(error), 5)
  message.writeDoubleLE(regionId, 6)
  message.writeDoubleLE(offset, 14)
  return message
}

export function decodeStaged(message: Buffer): Staged {
  return {
    id: message.readUInt32LE(1),
    error: decodeResult(message.readUInt8(5)),
    regionId: message.readDoubleLE(6),
    offset: message.readDoubleLE(14),
  }
}

export function encodeUnstage(id: number): Buffer {
  const message = Buffer.allocUnsafe(5)
  message.writeUInt8(MessageType.unstage)
  message.writeUInt32LE(id, 1)
  return message
}

export function decodeUnstage(message: Buffer): number {
  return message.readUInt32LE(1)
}

function inMessages<T>(
  type: number,
  entries: readonly T[],
  entryBytes: number,
  write: (message: Buffer, at: number, entry: T) => void,
): Buffer[] {
  const entriesMax = Math.floor((MESSAGE_BYTES_MAX - 1) / entryBytes)
  const messages: Buffer[] = []
  for (let begin = 0; begin < entries.length; begin += entriesMax) {
    const part = entries.slice(begin, begin + entriesMax)
    const message = Buffer.allocUnsafe(1 + part.length * entryBytes)
    message.writeUInt8(type)
    part.forEach((entry, index) => {
      write(message, 1 + index * entryBytes, entry)
    })
    messages.push(message)
  }
  return messages
}

/** @throws RangeError for a message that ends in the middle of an entry */
function entriesOf<T>(message: Buffer, entryBytes: number, read: (at: number) => T): T[] {
  const entries: T[] = []
  for (let at = 1; at < message.byteLength; at += entryBytes) entries.push(read(at))
  return entries
}
