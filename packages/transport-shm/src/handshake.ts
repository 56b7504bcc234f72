/**
 * Before anything else the two ends prove to each other that they know the cluster secret. Only then does the
 * server hand over descriptors. Little-endian:
 *
 *     1  client  HELLO      0 u8 type   1 u32 magic   5 u32 version   9 clientNonce[32]
 *     2  server  CHALLENGE  0 u8 type   1 u32 magic   5 u32 version   9 serverNonce[32]   41 serverProof[32]
 *     3  client  PROOF      0 u8 type   1 clientProof[32]
 *     4  server  WELCOME    0 u8 type   1 f64 bytes of the table of grants, whose descriptor comes with it
 *                or REFUSED 0 u8 type
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
import { mapRegion, type HostRegion } from '@mooncake-ts/memory'
import type { Channel } from './channel.js'

const PROTOCOL = 'mooncake-shm/1'
const VERSION = 1
const MAGIC = 0x4853434d // "MCSH"
const HELLO = 1
const CHALLENGE = 2
const PROOF = 3
const WELCOME = 4
const REFUSED = 5
const OPENING_BYTES = 9

/**
 * The table of grants of the other end.
 * @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED, what ended the connection
 */
export async function greetAsClient(channel: Channel, security: Security): Promise<HostRegion> {
  const clientNonce = createNonce()
  channel.send(Buffer.concat([opening(HELLO), clientNonce]))
  const [answer] = await next(channel)
  const serverNonce = Buffer.from(
    bodyOf(answer, CHALLENGE, NONCE_BYTES + PROOF_BYTES).subarray(0, NONCE_BYTES),
  )
  const challenge = { protocol: PROTOCOL, clientNonce, serverNonce }
  if (!verifyProof(security, 'server', challenge, answer.subarray(OPENING_BYTES + NONCE_BYTES))) {
    throw new MooncakeError('ERR_UNAUTHENTICATED', 'The listener does not know the cluster secret')
  }
  channel.send(Buffer.concat([Buffer.from([PROOF]), proveSecret(security, 'client', challenge)]))
  const [welcome, table] = await next(channel)
  if (welcome[0] !== WELCOME || table == null) throw new MooncakeError('ERR_UNAUTHENTICATED')
  return table
}

/** @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED, or what ended the connection */
export async function greetAsServer(channel: Channel, security: Security, table: HostRegion): Promise<void> {
  const serverNonce = createNonce()
  const [hello] = await next(channel)
  const clientNonce = Buffer.from(bodyOf(hello, HELLO, NONCE_BYTES))
  const challenge = { protocol: PROTOCOL, clientNonce, serverNonce }
  const proof = proveSecret(security, 'server', challenge)
  channel.send(Buffer.concat([opening(CHALLENGE), serverNonce, proof]))
  const [answer] = await next(channel)
  if (answer[0] !== PROOF || !verifyProof(security, 'client', challenge, answer.subarray(1))) {
    channel.send(Buffer.from([REFUSED]))
    throw new MooncakeError('ERR_UNAUTHENTICATED', 'The peer does not know the cluster secret')
  }
  const welcome = Buffer.alloc(9, WELCOME)
  welcome.writeDoubleLE(table.byteLength, 1)
  channel.send(welcome, table)
}

/** The next message, and the table where one came with it. They alternate here, so none is missed. */
function next(channel: Channel): Promise<[message: Buffer, table: HostRegion | undefined]> {
  return new Promise((resolve, reject) => {
    void channel.closed.then(reject)
    channel.onMessage = (message, [descriptor]) => {
      const isTable = descriptor != null && message[0] === WELCOME
      const table = isTable ? mapRegion(descriptor, message.readDoubleLE(1)) : undefined
      resolve([Buffer.from(message), table])
    }
  })
}

function opening(type: number): Buffer {
  const bytes = Buffer.alloc(OPENING_BYTES, type)
  bytes.writeUInt32LE(MAGIC, 1)
  bytes.writeUInt32LE(VERSION, 5)
  return bytes
}

/** @throws ERR_PROTOCOL */
function bodyOf(message: Buffer, type: number, byteLength: number): Buffer {
  if (message[0] !== type || message.byteLength !== OPENING_BYTES + byteLength) {
    throw new MooncakeError('ERR_PROTOCOL', 'The peer speaks another protocol')
  }
  const version = message.readUInt32LE(5)
  if (message.readUInt32LE(1) === MAGIC && version === VERSION) return message.subarray(OPENING_BYTES)
  throw new MooncakeError(
    'ERR_PROTOCOL',
    `The peer speaks version ${version} of the protocol, this end ${VERSION}`,
  )
}
