import {
  createNonce,
  MooncakeError,
  proveSecret,
  verifyProof,
  type Challenge,
  type Security,
} from '@mooncake-ts/core'
import { encodeFrame } from './codec.js'
import { FrameKind, type Frame } from './frame.js'
import { decodeMessage, errorOf, FAILURE, HELLO, PROOF, type Hello } from './messages.js'

/** Versions of the protocol that this code speaks. */
export const PROTOCOL_MIN = 1
export const PROTOCOL_MAX = 1

/** Enters the proof, so that it fits no other protocol. Stays when versions are added. */
const PROOF_PROTOCOL = 'mooncake-rpc/1'

/** What both ends agreed on. */
export interface Session {
  readonly protocol: number
  readonly features: ReadonlySet<string>
  /** The largest body that the peer takes. */
  readonly frameBytesMax: number
}

export interface HandshakeStep {
  readonly reply?: Buffer
  /** Set when this end is done: the peer knows the secret. */
  readonly session?: Session
}

/**
 * One end of `HELLO → ← HELLO, PROOF → ← PROOF`. The client proves itself first, so that a stranger who
 * connects learns nothing that he could test guesses of the secret on. No request is sent before both ends
 * are sure.
 */
export class Handshake {
  readonly #role: 'client' | 'server'
  readonly #security: Security
  readonly #frameBytesMax: number
  /** Optional parts that this end has. */
  readonly #features: readonly string[]
  readonly #nonce = createNonce()
  #challenge: Challenge | undefined
  #session: Session | undefined

  constructor(
    role: 'client' | 'server',
    security: Security,
    frameBytesMax: number,
    features: readonly string[] = [],
  ) {
    this.#role = role
    this.#security = security
    this.#frameBytesMax = frameBytesMax
    this.#features = features
  }

  /** The first frame of this end. */
  hello(): Buffer {
    const hello: Hello = {
      protocolMin: PROTOCOL_MIN,
      protocolMax: PROTOCOL_MAX,
      features: [...this.#features],
      nonce: this.#nonce,
      frameBytesMax: this.#frameBytesMax,
    }
    return encodeFrame(FrameKind.hello, 0, 0, hello)
  }

  /** @throws ERR_PROTOCOL, ERR_UNAUTHENTICATED; what the peer gave as its reason to close */
  receive(frame: Frame): HandshakeStep {
    if (frame.kind === FrameKind.goodbye) throw errorOf(decodeMessage(FAILURE, frame.body, 'GOODBYE'))
    if (frame.kind === FrameKind.hello && this.#challenge == null) return this.#receiveHello(frame)
    if (frame.kind === FrameKind.proof && this.#challenge != null) {
      return this.#receiveProof(frame, this.#challenge)
    }
    throw new MooncakeError('ERR_PROTOCOL', `Unexpected frame of kind ${frame.kind} before authentication`)
  }

  #receiveHello(frame: Frame): HandshakeStep {
    const hello = decodeMessage(HELLO, frame.body, 'HELLO')
    this.#session = {
      protocol: negotiate(hello),
      features: new Set(this.#features.filter(feature => hello.features.includes(feature))),
      frameBytesMax: hello.frameBytesMax,
    }
    const isClient = this.#role === 'client'
    this.#challenge = {
      protocol: PROOF_PROTOCOL,
      clientNonce: isClient ? this.#nonce : hello.nonce,
      serverNonce: isClient ? hello.nonce : this.#nonce,
    }
    return { reply: isClient ? this.#proof(this.#challenge) : this.hello() }
  }

  #receiveProof(frame: Frame, challenge: Challenge): HandshakeStep {
    const { proof } = decodeMessage(PROOF, frame.body, 'PROOF')
    const isClient = this.#role === 'client'
    if (!verifyProof(this.#security, isClient ? 'server' : 'client', challenge, proof)) {
      const message = 'The two ends do not have the same cluster secret'
      throw new MooncakeError('ERR_UNAUTHENTICATED', message)
    }
    return { session: this.#session!, ...(isClient ? {} : { reply: this.#proof(challenge) }) }
  }

  #proof(challenge: Challenge): Buffer {
    return encodeFrame(FrameKind.proof, 0, 0, { proof: proveSecret(this.#security, this.#role, challenge) })
  }
}

/** The newest version that both have. @throws ERR_PROTOCOL */
function negotiate({ protocolMin, protocolMax }: Hello): number {
  const protocol = Math.min(protocolMax, PROTOCOL_MAX)
  if (protocol >= Math.max(protocolMin, PROTOCOL_MIN)) return protocol
  const message = `No common protocol version: ${PROTOCOL_MIN} to ${PROTOCOL_MAX} here, ${protocolMin} to ${protocolMax} there`
  throw new MooncakeError('ERR_PROTOCOL', message)
}
