import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { ERRORS, isErrorCode, MooncakeError, NONCE_BYTES, PROOF_BYTES } from '@mooncake-ts/core'
import { checkSchema } from '../schema.js'
import { decodeBody } from './codec.js'

const uint32 = Type.Integer({ minimum: 0, maximum: 0xffff_ffff })

export const HELLO = Type.Object({
  protocolMin: uint32,
  protocolMax: uint32,
  features: Type.Array(Type.String(), { maxItems: 64 }),
  nonce: Type.Uint8Array({ minByteLength: NONCE_BYTES, maxByteLength: NONCE_BYTES }),
  /** The largest body that the sender takes. */
  frameBytesMax: uint32,
})
export type Hello = Static<typeof HELLO>

export const PROOF = Type.Object({
  proof: Type.Uint8Array({ minByteLength: PROOF_BYTES, maxByteLength: PROOF_BYTES }),
})

/** Of FAILURE and GOODBYE. A code is a string of the sender's version, maybe one that we do not know. */
export const FAILURE = Type.Object({
  code: Type.String(),
  message: Type.String(),
  retryable: Type.Optional(Type.Boolean()),
})
export type Failure = Static<typeof FAILURE>

/** @throws ERR_PROTOCOL */
export function decodeMessage<T extends TSchema>(schema: T, body: Buffer, what: string): Static<T> {
  const value = decodeBody(body)
  checkSchema(schema, value, what, 'ERR_PROTOCOL')
  return value
}

export function failureOf(error: MooncakeError): Failure {
  return { code: error.code, message: error.message, retryable: ERRORS[error.code].retryable }
}

/** A code of a newer peer becomes one of ours that is retryable or not, as the peer says. */
export function errorOf({ code, message, retryable }: Failure): MooncakeError {
  if (isErrorCode(code)) return new MooncakeError(code, message)
  return new MooncakeError(retryable === true ? 'ERR_RPC_FAIL' : 'ERR_INTERNAL', `${message} (${code})`)
}
