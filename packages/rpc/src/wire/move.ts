import type { Duplex } from 'node:stream'
import { Type, type Static } from '@sinclair/typebox'
import { asMooncakeError, MooncakeError, type CarriedEnd, type RpcCarrier } from '@mooncake-ts/core'
import { encodeFrame } from './codec.js'
import { FrameKind, type Frame } from './frame.js'
import { decodeMessage, errorOf, FAILURE } from './messages.js'

const INFO_BYTES_MAX = 1024

/** Either fits, or neither: the last message of a move that went well is empty. */
const CARRY = Type.Object({
  info: Type.Optional(Type.Uint8Array({ maxByteLength: INFO_BYTES_MAX })),
  failed: Type.Optional(Type.String()),
})
type Carry = Static<typeof CARRY>

export interface MoveEvents {
  send(frame: Buffer): void
  /** Last call, exactly one, unless `cancel` came first. Without a stream the connection stays on its socket. */
  onDone(stream: Duplex | undefined, why?: MooncakeError): void
}

/**
 * Moves an authenticated connection from its socket to a carrier:
 *
 *     client  CARRY { info }
 *     server  CARRY { info }      it is connected, and waits for
 *     client  CARRY { }           bytes have arrived
 *
 * `{ failed }` instead of any of them leaves both ends on the socket.
 */
export class Move {
  readonly #role: 'client' | 'server'
  readonly #carrier: RpcCarrier
  readonly #events: MoveEvents
  #end: CarriedEnd | undefined
  /** Of the server, until the client has said that it works. */
  #stream: Duplex | undefined
  /** A step is under way here, so the peer has nothing to say. */
  #busy = false
  #over = false

  constructor(role: 'client' | 'server', carrier: RpcCarrier, events: MoveEvents) {
    this.#role = role
    this.#carrier = carrier
    this.#events = events
    if (role === 'client') this.#step(() => this.#offer())
  }

  /** @throws ERR_PROTOCOL; what the peer gave as its reason to close */
  receive(frame: Frame): void {
    if (frame.kind === FrameKind.goodbye) throw errorOf(decodeMessage(FAILURE, frame.body, 'GOODBYE'))
    if (frame.kind !== FrameKind.carry || this.#busy) {
      throw new MooncakeError('ERR_PROTOCOL', `Unexpected frame of kind ${frame.kind} before the carrier`)
    }
    const { info, failed } = decodeMessage(CARRY, frame.body, 'CARRY')
    if (failed != null) this.#stay(new MooncakeError('ERR_RPC_FAIL', `the peer says: ${failed}`))
    else if (this.#stream != null) this.#finish(this.#stream)
    else if (info == null) throw new MooncakeError('ERR_PROTOCOL', 'CARRY without info')
    else this.#step(() => (this.#role === 'client' ? this.#accept(info) : this.#answer(info)))
  }

  /** The link has ended. */
  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#discard()
  }

  async #offer(): Promise<void> {
    this.#end = await this.#carrier.prepare()
    this.#send({ info: this.#end.info })
  }

  async #answer(info: Uint8Array): Promise<void> {
    this.#end = await this.#carrier.prepare(info)
    const mine = this.#end.info
    this.#stream = await this.#connect(this.#end, info)
    this.#send({ info: mine })
  }

  async #accept(info: Uint8Array): Promise<void> {
    const stream = await this.#connect(this.#end!, info)
    if (this.#over) {
      stream.destroy()
      return
    }
    this.#send({})
    this.#finish(stream)
  }

  async #connect(end: CarriedEnd, info: Uint8Array): Promise<Duplex> {
    if (this.#over) throw new MooncakeError('ERR_RPC_FAIL', 'The connection ended')
    this.#end = undefined
    const stream = await end.connect(info)
    stream.on('error', () => {}) // Until somebody listens; its close says enough.
    return stream
  }

  #step(step: () => Promise<void>): void {
    this.#busy = true
    step().then(
      () => {
        this.#busy = false
        if (this.#over) this.#discard()
      },
      (error: unknown) => {
        this.#busy = false
        if (this.#over) return
        const { message } = asMooncakeError(error)
        this.#send({ failed: message })
        this.#stay(asMooncakeError(error))
      },
    )
  }

  #send(carry: Carry): void {
    if (!this.#over) this.#events.send(encodeFrame(FrameKind.carry, 0, 0, carry))
  }

  #finish(stream: Duplex): void {
    this.#over = true
    this.#stream = undefined
    this.#events.onDone(stream)
  }

  #stay(why: MooncakeError): void {
    this.#over = true
    this.#discard()
    this.#events.onDone(undefined, why)
  }

  #discard(): void {
    this.#end?.discard()
    this.#end = undefined
    this.#stream?.destroy()
    this.#stream = undefined
  }
}
