/**
 * The wire format of a lane after its handshake. All integers are little-endian.
 *
 * Request, initiator to target: head, `opCount` descriptors, then the payload of its WRITE descriptors in
 * their order. Head and first descriptor are received in one go, so a frame of one operation costs one
 * receive.
 *
 *     head (24)         0 u32 magic   4 u32 sequence   8 u32 opCount   12 u32 zero   16 u64 writeBytes
 *     descriptor (48)   0 key[24]: u64 exposureId, token[16]   24 u64 offset   32 u64 operationBytes
 *                       40 u32 byteLength   44 u32 kind
 *
 * `operationBytes` counts from `offset` to the end of the whole operation. A stripe carries it so that an
 * operation that reaches out of the window is refused as a whole, before any stripe of it is written.
 *
 * Response, target to initiator, in the order of the requests: head, one status byte for each descriptor if
 * any is not OK, then the payload of its READ descriptors that are OK, in their order.
 *
 *     head (16)         0 u32 magic   4 u32 sequence   8 u32 opCount   12 u8 hasStatuses   13 zero[3]
 */
import { MooncakeError } from '@mooncake-ts/core'

export const REQUEST_HEAD_BYTES = 24
export const DESCRIPTOR_BYTES = 48
export const RESPONSE_HEAD_BYTES = 16
/** Id and token of an exposure: what a RemoteWindow's `key` holds. */
export const KEY_BYTES = 24
export const TOKEN_BYTES = 16

/** Limits of the protocol; a frame beyond them is malformed. */
export const DESCRIPTORS_MAX = 4096
export const FRAME_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024

const REQUEST_MAGIC = 0x5154434d // "MCTQ"
const RESPONSE_MAGIC = 0x5254434d // "MCTR"

export const KIND_READ = 1
export const KIND_WRITE = 2
export type Kind = typeof KIND_READ | typeof KIND_WRITE

export const STATUS_OK = 0
export const STATUS_ACCESS_DENIED = 1

export interface RequestHead {
  readonly sequence: number
  readonly opCount: number
  /** Payload that follows the descriptors. */
  readonly writeBytes: number
}

export interface Descriptor {
  readonly exposureId: number
  readonly offset: number
  /** From `offset` to the end of the operation; more than `byteLength` for all stripes but the last. */
  readonly operationBytes: number
  readonly byteLength: number
  readonly kind: Kind
}

export interface ResponseHead {
  readonly sequence: number
  readonly opCount: number
  readonly hasStatuses: boolean
}

export function requestBytes(opCount: number): number {
  return REQUEST_HEAD_BYTES + opCount * DESCRIPTOR_BYTES
}

export function encodeRequestHead(view: DataView, at: number, head: RequestHead): void {
  view.setUint32(at, REQUEST_MAGIC, true)
  view.setUint32(at + 4, head.sequence, true)
  view.setUint32(at + 8, head.opCount, true)
  view.setUint32(at + 12, 0, true)
  setUint53(view, at + 16, head.writeBytes)
}

/** @throws ERR_PROTOCOL */
export function decodeRequestHead(view: DataView, at: number, opsMax: number): RequestHead {
  const opCount = view.getUint32(at + 8, true)
  const writeBytes = getUint53(view, at + 16)
  if (view.getUint32(at, true) !== REQUEST_MAGIC) throw malformed('a request does not begin with its magic')
  if (view.getUint32(at + 12, true) !== 0) throw malformed('reserved bytes of a request are set')
  if (opCount === 0 || opCount > opsMax)
    throw malformed(`a request of ${opCount} operations, from 1 to ${opsMax} allowed`)
  if (writeBytes > FRAME_PAYLOAD_BYTES_MAX) throw malformed(`a request with ${writeBytes} bytes of payload`)
  return { sequence: view.getUint32(at + 4, true), opCount, writeBytes }
}

export function encodeKey(exposureId: number, token: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  setUint53(new DataView(key.buffer), 0, exposureId)
  key.set(token, 8)
  return key
}

/** The caller copies the key to the first 24 bytes itself. */
export function encodeDescriptor(
  view: DataView,
  at: number,
  { kind, offset, operationBytes, byteLength }: Omit<Descriptor, 'exposureId'>,
): void {
  setUint53(view, at + 24, offset)
  setUint53(view, at + 32, operationBytes)
  view.setUint32(at + 40, byteLength, true)
  view.setUint32(at + 44, kind, true)
}

/** @throws ERR_PROTOCOL */
export function decodeDescriptor(view: DataView, at: number): Descriptor {
  const operationBytes = getUint53(view, at + 32)
  const byteLength = view.getUint32(at + 40, true)
  const kind = view.getUint32(at + 44, true)
  if (kind !== KIND_READ && kind !== KIND_WRITE) throw malformed(`a descriptor of kind ${kind}`)
  if (byteLength > FRAME_PAYLOAD_BYTES_MAX || byteLength > operationBytes) {
    throw malformed(`a descriptor of ${byteLength} bytes in an operation of ${operationBytes}`)
  }
  return {
    exposureId: getUint53(view, at),
    offset: getUint53(view, at + 24),
    operationBytes,
    byteLength,
    kind,
  }
}

export function encodeResponseHead(view: DataView, at: number, head: ResponseHead): void {
  view.setUint32(at, RESPONSE_MAGIC, true)
  view.setUint32(at + 4, head.sequence, true)
  view.setUint32(at + 8, head.opCount, true)
  view.setUint32(at + 12, head.hasStatuses ? 1 : 0, true)
}

/**
 * Responses come in the order of the requests, so the caller knows what this one must answer.
 * @throws ERR_PROTOCOL
 */
export function decodeResponseHead(
  view: DataView,
  at: number,
  expected: Pick<RequestHead, 'sequence' | 'opCount'>,
): ResponseHead {
  const sequence = view.getUint32(at + 4, true)
  const opCount = view.getUint32(at + 8, true)
  const flags = view.getUint32(at + 12, true)
  if (view.getUint32(at, true) !== RESPONSE_MAGIC) throw malformed('a response does not begin with its magic')
  if (flags > 1) throw malformed(`a response with flags ${flags}`)
  if (sequence !== expected.sequence || opCount !== expected.opCount) {
    throw malformed(
      `response ${sequence} of ${opCount} operations, not ${expected.sequence} of ${expected.opCount}`,
    )
  }
  return { sequence, opCount, hasStatuses: flags === 1 }
}

const TWO_32 = 2 ** 32

function setUint53(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % TWO_32, true)
  view.setUint32(at + 4, Math.floor(value / TWO_32), true)
}

/** Infinity above 2^53 - 1: past every range check, and never equal to anything that exists. */
function getUint53(view: DataView, at: number): number {
  const value = view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true)
  return Number.isSafeInteger(value) ? value : Infinity
}

function malformed(what: string): MooncakeError {
  return new MooncakeError('ERR_PROTOCOL', `The peer sent ${what}`)
}
