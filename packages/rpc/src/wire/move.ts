import type { Duplex } from 'node:stream'
import { Type, type Static } from '@sinclair/typebox'
import {
  asMooncakeError,
  MooncakeError,
  type CarriedEnd,
  type Clock,
  type RpcCarrier,
} from '@mooncake-ts/core'
import { encodeFrame } from './codec.js'
import { FrameKind, type Frame } from './frame.js'
import { decodeMessage, errorOf, FAILURE } from './messages.js'

const INFO_BYTES_MAX = 1024

/** Of the limit: the client gives up first, so that the two ends agree. */
const SERVER_PATIENCE = 2

/** Either `info` or `failed` fits, or neither: the last message of a move that went well is empty. */
const CARRY = Type.Object({
  /** Which one; of the first message. */
  carrier: Type.Optional(Type.String()),
  info: Type.Optional(Type.Uint8Array({ maxByteLength: INFO_BYTES_MAX })),
  failed: Type.Optional(Type.String()),
})
type Carry = Static<typeof CARRY>

export interface MoveDeps {
  readonly clock: Clock
  /** What both ends have, at least one; the client takes the first. */
  readonly carriers: readonly RpcCarrier[]
  /** When the client gives up. */
  readonly timeoutMs: number
}

/** Exactly one of the last two is called, once, unless `cancel` came first. */
export interface MoveEvents {
  send(frame: Buffer): void
  /** Without a stream the connection stays on its socket. */
  onDone(stream: Duplex | undefined, why?: MooncakeError): void
  /** The client has forgotten its move, and nobody knows where it is. */
  onFail(error: MooncakeError): void
}

/**
 * Moves an authenticated connection from its socket to a carrier:
 *
 *     client  CARRY { carrier, info }
 *     server  CARRY { info }             it is connected, and waits for
 *     client  CARRY { }                  bytes have arrived
 *
 * `{ failed }` instead of any of them leaves both ends on the socket. The client may say so at any time until its last
 * message, so that may cross with what the server says.
 */
export class Move {
  readonly #role: 'client' | 'server'
  readonly #carriers: readonly RpcCarrier[]
  readonly #events: MoveEvents
  readonly #timer: Disposable
  /** Until it is connected. */
  #end: CarriedEnd | undefined
  /** Of the server, until the client has said that it works. */
  #stream: Duplex | undefined
  /** A step is under way here, so the peer has nothing to say but that it failed. */
  #busy = false
  #over = false

  constructor(role: 'client' | 'server', { clock, carriers, timeoutMs }: MoveDeps, events: MoveEvents) {
    this.#role = role
    this.#carriers = carriers
    this.#events = events
    const limitMs = role === 'client' ? timeoutMs : SERVER_PATIENCE * timeoutMs
    this.#timer = clock.after(limitMs, () => {
      this.#expire(limitMs)
    })
    if (role === 'client') void this.#step(() => this.#offer())
  }

  /** @throws ERR_PROTOCOL; what the peer gave as its reason to close */
  receive(frame: Frame): void {
    if (frame.kind === FrameKind.goodbye) throw errorOf(decodeMessage(FAILURE, frame.body, 'GOODBYE'))
    if (frame.kind !== FrameKind.carry) throw unexpected(frame)
    const carry = decodeMessage(CARRY, frame.body, 'CARRY')
    if (this.#over) return // The peer said it before it knew that this end stays on the socket.
    if (carry.failed != null) this.#stay(new MooncakeError('ERR_RPC_FAIL', `the peer says: ${carry.failed}`))
    else if (this.#busy) throw unexpected(frame)
    else if (this.#stream != null) this.#finish(this.#stream)
    else if (carry.info == null) throw new MooncakeError('ERR_PROTOCOL', 'CARRY without info')
    else this.#begin(carry.info, carry.carrier)
  }

  /** The link has ended. */
  cancel(): void {
    if (this.#over) return
    this.#settle()
    this.#discard()
  }

  #begin(info: Uint8Array, carrier: string | undefined): void {
    void this.#step(() => (this.#role === 'client' ? this.#accept(info) : this.#answer(info, carrier)))
  }

  async #offer(): Promise<void> {
    const [carrier] = this.#carriers
    this.#end = await carrier!.prepare()
    this.#send({ carrier: carrier!.name, info: this.#end.info })
  }

  async #answer(info: Uint8Array, name: string | undefined): Promise<void> {
    const carrier = this.#carriers.find(each => each.name === name)
    if (carrier == null) throw new MooncakeError('ERR_RPC_FAIL', `the carrier ${name} was not agreed on`)
    const end = (this.#end = await carrier.prepare(info))
    this.#stream = await this.#connect(end, info)
    this.#send({ info: end.info })
  }

  async #accept(info: Uint8Array): Promise<void> {
    this.#stream = await this.#connect(this.#end!, info)
    if (this.#over) return
    this.#send({})
    this.#finish(this.#stream)
  }

  async #connect(end: CarriedEnd, info: Uint8Array): Promise<Duplex> {
    if (this.#over) throw new MooncakeError('ERR_RPC_FAIL', 'The connection ended')
    try {
      const stream = await end.connect(info)
      stream.on('error', () => {}) // Until somebody listens; its close says enough.
      return stream
    } finally {
      this.#end = undefined
    }
  }

  async #step(step: () => Promise<void>): Promise<void> {
    this.#busy = true
    try {
      await step()
    } catch (error) {
      this.#giveUp(asMooncakeError(error))
    }
    this.#busy = false
    // What the step has made although nobody wants it any more.
    if (this.#over) this.#discard()
  }

  #expire(limitMs: number): void {
    if (this.#role === 'client') {
      this.#giveUp(new MooncakeError('ERR_RPC_TIMEOUT', `no connection within ${limitMs} ms`))
      return
    }
    this.cancel()
    const message = `The client did not say within ${limitMs} ms whether it is carried`
    this.#events.onFail(new MooncakeError('ERR_RPC_TIMEOUT', message))
  }

  #giveUp(why: MooncakeError): void {
    if (this.#over) return
    this.#send({ failed: why.message })
    this.#stay(why)
  }

  #send(carry: Carry): void {
    if (!this.#over) this.#events.send(encodeFrame(FrameKind.carry, 0, 0, carry))
  }

  #finish(stream: Duplex): void {
    this.#settle()
    this.#stream = undefined
    this.#events.onDone(stream)
  }

  #stay(why: MooncakeError): void {
    this.#settle()
    this.#discard()
    this.#events.onDone(undefined, why)
  }

  #settle(): void {
    this.#over = true
    this.#timer[Symbol.dispose]()
  }

  #discard(): void {
    this.#end?.discard()
    this.#end = undefined
    this.#stream?.destroy()
    this.#stream = undefined
  }
}

function unexpected({ kind }: Frame): MooncakeError {
  return new MooncakeError('ERR_PROTOCOL', `Unexpected frame of kind ${kind} before the carrier`)
}
