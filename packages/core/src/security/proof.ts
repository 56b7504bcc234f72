import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Security } from '../contracts/security.js'
import { MooncakeError } from '../errors/error.js'

/** Bytes of a nonce and of a proof on the wire. */
export const NONCE_BYTES = 32
export const PROOF_BYTES = 32

/** The two nonces of one connection and the protocol they belong to, so that a proof fits nowhere else. */
export interface Challenge {
  readonly protocol: string
  readonly clientNonce: Uint8Array
  readonly serverNonce: Uint8Array
}

export function createNonce(): Uint8Array {
  return randomBytes(NONCE_BYTES)
}

/**
 * Proof that this end knows the cluster secret: HMAC-SHA-256 over protocol, role and both nonces.
 * The role keeps a peer from sending our own proof back to us. Without a secret both ends use the empty one.
 */
export function proveSecret(security: Security, role: 'client' | 'server', challenge: Challenge): Uint8Array {
  const protocol = Buffer.from(challenge.protocol)
  return createHmac('sha256', security.secret ?? '')
    .update(Buffer.from([protocol.byteLength]))
    .update(protocol)
    .update(role === 'client' ? 'C' : 'S')
    .update(challenge.clientNonce)
    .update(challenge.serverNonce)
    .digest()
}

/** In constant time. */
export function verifyProof(
  security: Security,
  role: 'client' | 'server',
  challenge: Challenge,
  proof: Uint8Array,
): boolean {
  const expected = proveSecret(security, role, challenge)
  return proof.byteLength === expected.byteLength && timingSafeEqual(proof, expected)
}

/** `127.0.0.0/8`, `::1`, `localhost` and unix paths never leave the machine. */
export function isLoopback(host: string): boolean {
  if (host.startsWith('unix:') || host.startsWith('/')) return true
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** @throws ERR_INSECURE_BIND for an address beyond loopback without a secret, unless `allowInsecure` */
export function assertMayBind(security: Security, host: string): void {
  const hasSecret = security.secret != null && security.secret !== '' // The empty one proves nothing.
  if (hasSecret || security.allowInsecure || isLoopback(host)) return
  const message = `Refused to listen on ${host} without a cluster secret; set one, or allow it with --allow_insecure`
  throw new MooncakeError('ERR_INSECURE_BIND', message)
}
