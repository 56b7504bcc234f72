/**
 * Before its first frame a lane proves in both directions that its ends know the cluster secret.
 * Little-endian:
 *
 *     1  client  HELLO      0 u32 magic   4 u32 version   8 clientNonce[32]
 *     2  server  CHALLENGE  0 u32 magic   4 u32 version   8 u32 frameOpsMax   12 u32 framesMax
 *                           16 serverNonce[32]   48 serverProof[32]
 *     3  client  PROOF      0 clientProof[32]
 *     4  server  VERDICT    0 u32: 1 welcome, 2 refused
 *
 * A server of another version answers with its own version in the CHALLENGE and closes.
 */
import {
  createNonce,
  MooncakeError,
  NONCE_BYTES,
  PROOF_BYTES,
  proveSecret,
  verifyProof,
  type Security,
} from '@mooncake-ts/core'
import { DESCRIPTORS_MAX } from './codec.js'
import { IoVector } from './io-vector.js'
import type { LaneSocket } from './lane-socket.js'

export const PROTOCOL = 'mooncake-tcp/1'
export const VERSION = 1
const MAGIC = 0x4854434d // "MCTH"

const OPENING_BYTES = 8
const LIMITS_BYTES = 8
const WELCOME = 1
const REFUSED = 2

/** What the target allows on one lane. */
export interface LaneLimits {
  /** Operations in one frame. */
  readonly frameOpsMax: number
  /** Frames without a response. */
  readonly framesMax: number
}

/** @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED, or what ended the connection */
export async function greetAsClient(socket: LaneSocket, security: Security): Promise<LaneLimits> {
  const clientNonce = createNonce()
  await write(socket, [uint32(MAGIC), uint32(VERSION), clientNonce])
  await readOpening(socket)
  const rest = await read(socket, LIMITS_BYTES + NONCE_BYTES + PROOF_BYTES)
  const limits = { frameOpsMax: rest.readUInt32LE(0), framesMax: rest.readUInt32LE(4) }
  const serverNonce = rest.subarray(LIMITS_BYTES, LIMITS_BYTES + NONCE_BYTES)
  const challenge = { protocol: PROTOCOL, clientNonce, serverNonce }
  const proven = verifyProof(security, 'server', challenge, rest.subarray(LIMITS_BYTES + NONCE_BYTES))
  if (!proven) throw new MooncakeError('ERR_UNAUTHENTICATED', 'The listener does not know the cluster secret')
  if (limits.frameOpsMax < 1 || limits.frameOpsMax > DESCRIPTORS_MAX || limits.framesMax < 1) {
    throw new MooncakeError('ERR_PROTOCOL', 'The listener announced limits that make no sense')
  }
  await write(socket, [proveSecret(security, 'client', challenge)])
  const verdict = await read(socket, 4)
  if (verdict.readUInt32LE(0) !== WELCOME) throw new MooncakeError('ERR_UNAUTHENTICATED')
  return limits
}

/** @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED, or what ended the connection */
export async function greetAsServer(
  socket: LaneSocket,
  security: Security,
  limits: LaneLimits,
): Promise<void> {
  const serverNonce = createNonce()
  const zero = Buffer.alloc(LIMITS_BYTES + NONCE_BYTES + PROOF_BYTES)
  try {
    await readOpening(socket)
  } catch (error) {
    // The peer may be of another version: it learns ours before the lane ends.
    if (!socket.destroyed) await write(socket, [uint32(MAGIC), uint32(VERSION), zero])
    throw error
  }
  const clientNonce = await read(socket, NONCE_BYTES)
  const challenge = { protocol: PROTOCOL, clientNonce, serverNonce }
  await write(socket, [
    uint32(MAGIC),
    uint32(VERSION),
    uint32(limits.frameOpsMax),
    uint32(limits.framesMax),
    serverNonce,
    proveSecret(security, 'server', challenge),
  ])
  const proof = await read(socket, PROOF_BYTES)
  const proven = verifyProof(security, 'client', challenge, proof)
  await write(socket, [uint32(proven ? WELCOME : REFUSED)])
  if (!proven) throw new MooncakeError('ERR_UNAUTHENTICATED', 'The peer does not know the cluster secret')
}

async function readOpening(socket: LaneSocket): Promise<void> {
  const opening = await read(socket, OPENING_BYTES)
  if (opening.readUInt32LE(0) !== MAGIC)
    throw new MooncakeError('ERR_PROTOCOL', 'The peer speaks another protocol')
  const version = opening.readUInt32LE(4)
  if (version === VERSION) return
  throw new MooncakeError(
    'ERR_PROTOCOL',
    `The peer speaks version ${version} of the protocol, this end ${VERSION}`,
  )
}

/** Reads and writes alternate in a handshake, so both may use the head memory from its start. */
async function read(socket: LaneSocket, byteLength: number): Promise<Buffer> {
  await orEnd(socket, done => {
    socket.receive(new IoVector().push(socket.headSlot, 0, byteLength), done)
  })
  return Buffer.from(socket.head.subarray(0, byteLength)) // A copy: the memory is used again by the next message.
}

async function write(socket: LaneSocket, parts: readonly Uint8Array[]): Promise<void> {
  const message = Buffer.concat(parts)
  socket.head.set(message)
  await orEnd(socket, done => {
    const vector = new IoVector().push(socket.headSlot, 0, message.byteLength)
    socket.send({ vector, done })
  })
}

/** Rejects with the reason when the socket is destroyed before `post` calls back. */
function orEnd(socket: LaneSocket, post: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    void socket.rest.then(reject)
    post(resolve)
  })
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32LE(value)
  return bytes
}
