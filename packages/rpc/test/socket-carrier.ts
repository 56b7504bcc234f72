import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { definePlugin, MooncakeError, RPC_CARRIER, type CarriedEnd, type RpcCarrier } from '@mooncake-ts/core'

/** What a test wants to go wrong. */
export interface SocketCarrierOptions {
  readonly ready?: boolean
  readonly failing?: 'prepare' | 'connect'
}

/** Carries connections by other sockets, which needs no device: the end that asks first listens. */
class SocketCarrier implements RpcCarrier {
  readonly name = 'socket/1'
  readonly ready: boolean
  /** Every stream that was made. */
  static readonly streams: Socket[] = []
  readonly #failing: SocketCarrierOptions['failing']

  constructor({ ready = true, failing }: SocketCarrierOptions) {
    this.ready = ready
    this.#failing = failing
  }

  async prepare(peer?: Uint8Array): Promise<CarriedEnd> {
    this.#failWhere('prepare')
    return peer == null ? await this.#listen() : this.#dial(Buffer.from(peer).readUInt16BE())
  }

  async #listen(): Promise<CarriedEnd> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const accepted = once(server, 'connection')
    const info = Buffer.alloc(2)
    info.writeUInt16BE((server.address() as AddressInfo).port)
    return {
      info,
      connect: async () => {
        const [socket] = (await accepted) as [Socket]
        server.close()
        return this.#made(socket)
      },
      discard: () => server.close(),
    }
  }

  #dial(port: number): CarriedEnd {
    return {
      info: new Uint8Array(0),
      connect: async () => {
        const socket = connect(port, '127.0.0.1')
        await once(socket, 'connect')
        return this.#made(socket)
      },
      discard: () => {},
    }
  }

  #made(socket: Socket): Socket {
    SocketCarrier.streams.push(socket)
    if (this.#failing !== 'connect') return socket
    socket.destroy()
    throw new MooncakeError('ERR_RPC_FAIL', 'no way to connect')
  }

  #failWhere(step: string): void {
    if (this.#failing === step) throw new MooncakeError('ERR_RPC_FAIL', `no way to ${step}`)
  }
}

export const carrierStreams: readonly Socket[] = SocketCarrier.streams

export const socketCarrier = definePlugin<RpcCarrier, SocketCarrierOptions>({
  name: 'socket-carrier',
  provides: RPC_CARRIER,
  useFactory: options => new SocketCarrier(options),
})
