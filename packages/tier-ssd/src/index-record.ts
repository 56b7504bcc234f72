import type { ObjectIdentity } from '@mooncake-ts/core'
import { crc32c } from '@mooncake-ts/memory'

/**
 * The index is a log of frames: magic, CRC-32C, length of the payload (4 bytes each, little-endian), then the
 * payload, a row of records. A frame counts as a whole or not at all.
 *
 * A record: kind (1), flags (1), length of the key (2), row (4), serial (8); an `add` goes on with offset
 * (8), length (8), generation (8), checksum (4), the engine's checksum (4), and the key in UTF-8.
 */
export const RecordKind = { add: 1, remove: 2 } as const

export const FRAME_HEADER_BYTES = 12
/** A damaged frame costs all of its records, so frames are small. */
export const FRAME_PAYLOAD_BYTES_MAX = 16 * 1024
const MAGIC = 0x5844_534d // "MSDX"
export const MAGIC_BYTES = Buffer.from([0x4d, 0x53, 0x44, 0x58])

const REMOVE_BYTES = 16
const ADD_BYTES = 48
const FLAG_CHECKSUM = 1
export const KEY_BYTES_MAX = 4096

export interface AddRecord {
  readonly row: number
  readonly serial: number
  readonly offset: number
  readonly checksum: number
  readonly identity: ObjectIdentity
}

export function encodeAdd({ row, serial, offset, checksum, identity }: AddRecord): Buffer {
  const keyBytes = Buffer.byteLength(identity.key)
  const record = Buffer.allocUnsafe(ADD_BYTES + keyBytes)
  writeHead(record, RecordKind.add, row, serial)
  record[1] = identity.checksum == null ? 0 : FLAG_CHECKSUM
  record.writeUInt16LE(keyBytes, 2)
  record.writeDoubleLE(offset, 16)
  record.writeDoubleLE(identity.byteLength, 24)
  record.writeDoubleLE(identity.generation, 32)
  record.writeUInt32LE(checksum, 40)
  record.writeUInt32LE(identity.checksum ?? 0, 44)
  record.write(identity.key, ADD_BYTES)
  return record
}

export function encodeRemove(row: number, serial: number): Buffer {
  const record = Buffer.allocUnsafe(REMOVE_BYTES)
  writeHead(record, RecordKind.remove, row, serial)
  return record
}

function writeHead(record: Buffer, kind: number, row: number, serial: number): void {
  record.writeUInt32LE(kind, 0)
  record.writeUInt32LE(row, 4)
  record.writeDoubleLE(serial, 8)
}

/**
 * Closes the frame whose payload lies in `buffer` behind its header. `seed` is that of the tier, so that no
 * frame of another one is taken for its own.
 */
export function sealFrame(buffer: Buffer, start: number, end: number, seed: number): void {
  buffer.writeUInt32LE(MAGIC, start)
  buffer.writeUInt32LE(end - start - FRAME_HEADER_BYTES, start + 8)
  buffer.writeUInt32LE(crc32c(buffer.subarray(start + 8, end), seed), start + 4)
}

/** Where the frame at `start` ends; 0 where there is none, and -1 where it goes on beyond `end`. */
export function frameEnd(buffer: Buffer, start: number, end: number, seed: number): number {
  if (end - start < FRAME_HEADER_BYTES) return -1
  if (buffer.readUInt32LE(start) !== MAGIC) return 0
  const payloadBytes = buffer.readUInt32LE(start + 8)
  if (payloadBytes > FRAME_PAYLOAD_BYTES_MAX) return 0
  const frame = start + FRAME_HEADER_BYTES + payloadBytes
  if (frame > end) return -1
  return buffer.readUInt32LE(start + 4) === crc32c(buffer.subarray(start + 8, frame), seed) ? frame : 0
}

/** Walks through the records of one payload: `while (cursor.next())`, then its fields. */
export class RecordCursor {
  #bytes: Buffer
  #view: DataView
  #at = 0
  #next = 0

  constructor(payload: Buffer) {
    this.#bytes = payload
    this.#view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  }

  next(): boolean {
    this.#at = this.#next
    if (this.#at + REMOVE_BYTES > this.#bytes.length) return false
    this.#next += this.isAdd ? ADD_BYTES + this.#view.getUint16(this.#at + 2, true) : REMOVE_BYTES
    return this.#next <= this.#bytes.length
  }

  get isAdd(): boolean {
    return this.#bytes[this.#at] === RecordKind.add
  }

  get row(): number {
    return this.#view.getUint32(this.#at + 4, true)
  }

  get serial(): number {
    return this.#view.getFloat64(this.#at + 8, true)
  }

  get offset(): number {
    return this.#view.getFloat64(this.#at + 16, true)
  }

  get byteLength(): number {
    return this.#view.getFloat64(this.#at + 24, true)
  }

  get checksum(): number {
    return this.#view.getUint32(this.#at + 40, true)
  }

  /** The record as it lies there, to be copied. */
  get bytes(): Buffer {
    return this.#bytes.subarray(this.#at, this.#next)
  }

  get recordBytes(): number {
    return this.#next - this.#at
  }

  identity(): ObjectIdentity {
    const at = this.#at
    const key = this.#bytes.toString('utf8', at + ADD_BYTES, this.#next)
    const { byteLength } = this
    const generation = this.#view.getFloat64(at + 32, true)
    if ((this.#bytes[at + 1]! & FLAG_CHECKSUM) === 0) return { key, generation, byteLength }
    return { key, generation, byteLength, checksum: this.#view.getUint32(at + 44, true) }
  }
}
