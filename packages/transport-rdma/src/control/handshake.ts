/**
 * Before its first message a control connection proves in both directions that its ends know the cluster secret:
 *
 *     client  { hello: 'mooncake-rdma/1', nonce }
 *     server  { nonce, proof }
 *     client  { proof }
 *     server  { welcome: true, devices }     or { welcome: false }
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
import type { ControlConnection, Message } from './connection.js'
import { bytesOf, textOf } from './fields.js'

export const PROTOCOL = 'mooncake-rdma/1'

/** What the server says of itself. @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED, or what ended the connection */
export async function greetAsClient(connection: ControlConnection, security: Security): Promise<Message> {
  const clientNonce = createNonce()
  connection.send({ hello: PROTOCOL, nonce: encode(clientNonce) })
  const answer = await connection.next()
  const challenge = { protocol: PROTOCOL, clientNonce, serverNonce: nonceOf(answer) }
  if (!verifyProof(security, 'server', challenge, bytesOf(answer, 'proof', PROOF_BYTES))) {
    throw new MooncakeError('ERR_UNAUTHENTICATED', 'The listener does not know the cluster secret')
  }
  connection.send({ proof: encode(proveSecret(security, 'client', challenge)) })
  const verdict = await connection.next()
  if (verdict.welcome !== true) throw new MooncakeError('ERR_UNAUTHENTICATED')
  return verdict
}

/** `welcome` is told to a client that proved itself. @throws as `greetAsClient` */
export async function greetAsServer(
  connection: ControlConnection,
  security: Security,
  welcome: Message,
): Promise<void> {
  const hello = await connection.next()
  const protocol = textOf(hello, 'hello')
  if (protocol !== PROTOCOL) {
    throw new MooncakeError('ERR_PROTOCOL', `The peer speaks ${protocol}, this end ${PROTOCOL}`)
  }
  const serverNonce = createNonce()
  const challenge = { protocol: PROTOCOL, clientNonce: nonceOf(hello), serverNonce }
  connection.send({ nonce: encode(serverNonce), proof: encode(proveSecret(security, 'server', challenge)) })
  const proof = bytesOf(await connection.next(), 'proof', PROOF_BYTES)
  const proven = verifyProof(security, 'client', challenge, proof)
  connection.send({ ...(proven ? welcome : {}), welcome: proven })
  if (!proven) throw new MooncakeError('ERR_UNAUTHENTICATED', 'The peer does not know the cluster secret')
}

function nonceOf(message: Message): Uint8Array {
  const nonce = bytesOf(message, 'nonce', NONCE_BYTES)
  if (nonce.byteLength === NONCE_BYTES) return nonce
  throw new MooncakeError('ERR_PROTOCOL', `The peer sent a nonce of ${nonce.byteLength} bytes`)
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
