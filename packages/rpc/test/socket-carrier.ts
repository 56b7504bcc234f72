import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { definePlugin, MooncakeError, RPC_CARRIER, type CarriedEnd, type RpcCarrier } from '@mooncake-ts/core'

/** What a test wants to go wrong. */
export interface SocketCarrierOptions {
  readonly ready?: boolean
  readonly failing?: 'prepare' | 'connect'
  /** Comes to no end unless it is given up. */
  readonly endless?: 'prepare' | 'connect'
}

/** Carries connections by other sockets, which needs no device: the end that asks first listens. */
class SocketCarrier implements RpcCarrier {
  readonly name: string
  readonly ready: boolean
  /** How often an end was asked for. */
  static readonly prepared: string[] = []
  /** Every stream that was made. */
  static readonly streams: Socket[] = []
  readonly #failing: SocketCarrierOptions['failing']
  readonly #endless: SocketCarrierOptions['endless']

  constructor(name: string, { ready = true, failing, endless }: SocketCarrierOptions) {
    this.name = name
    this.ready = ready
    this.#failing = failing
    this.#endless = endless
  }

  async prepare(peer?: Uint8Array): Promise<CarriedEnd> {
    SocketCarrier.prepared.push(this.name)
    this.#failWhere('prepare')
    if (this.#endless === 'prepare') await new Promise(() => {})
    return peer == null ? await this.#listen() : this.#dial(Buffer.from(peer).readUInt16BE())
  }

  async #listen(): Promise<CarriedEnd> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const givenUp = new AbortController()
    const accepted = once(server, 'connection', givenUp)
    accepted.catch(() => {})
    const info = Buffer.alloc(2)
    info.writeUInt16BE((server.address() as AddressInfo).port)
    return {
      info,
      connect: async () => {
        const [socket] = (await accepted) as [Socket]
        server.close()
        return await this.#made(socket, givenUp.signal)
      },
      discard: () => {
        givenUp.abort()
        server.close()
      },
    }
  }

  #dial(port: number): CarriedEnd {
    const givenUp = new AbortController()
    return {
      info: new Uint8Array(0),
      connect: async () => {
        const socket = connect(port, '127.0.0.1')
        await once(socket, 'connect')
        return await this.#made(socket, givenUp.signal)
      },
      discard: () => {
        givenUp.abort()
      },
    }
  }

  async #made(socket: Socket, givenUp: AbortSignal): Promise<Socket> {
    SocketCarrier.streams.push(socket)
    if (this.#endless === 'connect' && !givenUp.aborted) await once(givenUp, 'abort')
    if (this.#failing !== 'connect' && !givenUp.aborted) return socket
    socket.destroy()
    throw new MooncakeError('ERR_RPC_FAIL', 'no way to connect')
  }

  #failWhere(step: string): void {
    if (this.#failing === step) throw new MooncakeError('ERR_RPC_FAIL', `no way to ${step}`)
  }
}

export const carrierStreams: readonly Socket[] = SocketCarrier.streams
export const preparedCarriers: readonly string[] = SocketCarrier.prepared

function carrierOf(name: string) {
  return definePlugin<RpcCarrier, SocketCarrierOptions>({
    name: `carrier ${name}`,
    provides: RPC_CARRIER,
    useFactory: options => new SocketCarrier(name, options),
  })
}

export const socketCarrier = carrierOf('socket/1')
/** Another kind, as far as the two ends know. */
export const otherCarrier = carrierOf('other/1')
