import type { Duplex } from 'node:stream'
import {
  asMooncakeError,
  MooncakeError,
  type CarriedEnd,
  type Logger,
  type Metrics,
  type RpcCarrier,
  type Startable,
} from '@mooncake-ts/core'
import { DeviceHealth, openDevices } from '../devices.js'
import type { MessageStats } from '../native.js'
import { MessageDevice } from './message-device.js'
import { resolveRpcOptions, type ResolvedRpcOptions, type RpcOverRdmaOptions } from './options.js'
import { RdmaStream } from './stream.js'

/** Where `ConnectionInfo` of native/core/wire.h has the address of its device. */
const GID_AT = 8
const GID_BYTES = 16

export interface CarrierDeps {
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Carries RPC connections by SEND and RECEIVE, each over a queue pair of its own. */
export class RdmaCarrier implements RpcCarrier, Startable {
  readonly name = 'rdma/1'
  readonly #options: ResolvedRpcOptions
  readonly #logger: Logger
  #devices: readonly MessageDevice[] = []
  #health: DeviceHealth<MessageDevice> | undefined
  #turn = 0
  #saidFull = false

  /** @throws ERR_INVALID_PARAMS */
  constructor(options: RpcOverRdmaOptions, { logger, metrics }: CarrierDeps) {
    this.#options = resolveRpcOptions(options)
    this.#logger = logger
    metrics.gauge({
      name: 'rpc_rdma_connections',
      help: 'RPC connections that RDMA carries, of both roles.',
      collect: () => this.#devices.reduce((sum, device) => sum + device.count, 0),
    })
  }

  get ready(): boolean {
    return this.#devices.some(device => this.#isUsable(device))
  }

  /** What the devices have of this process, by name. */
  get stats(): ReadonlyMap<string, MessageStats> {
    return new Map(this.#devices.map(device => [device.name, device.stats]))
  }

  /** @throws ERR_NATIVE_MISSING, ERR_NOT_SUPPORTED and ERR_IO where there is no device, unless `optional` */
  start(): Promise<void> {
    try {
      const { device } = this.#options
      this.#devices = openDevices(device, this.#logger, options => new MessageDevice(options, this.#options))
    } catch (error) {
      if (!this.#options.device.optional) return Promise.reject(asMooncakeError(error))
      const { code, message } = asMooncakeError(error)
      this.#logger.warn(`RPC goes on without RDMA: ${message}`, { code })
    }
    this.#health = new DeviceHealth(this.#devices, this.#logger)
    return Promise.resolve()
  }

  /** The RpcService has ended its connections before. */
  stop(): Promise<void> {
    for (const device of this.#devices) device.close()
    this.#devices = []
    return Promise.resolve()
  }

  async prepare(peer?: Uint8Array): Promise<CarriedEnd> {
    const device = peer == null ? this.#next() : this.#closest(peer)
    if (device == null) throw new MooncakeError('ERR_RPC_FAIL', this.#whyNone())
    const created = device.create()
    this.#sayWhenFull()
    const { id, info } = await created
    const giveUp = (): void => {
      device.closeStream(id)
    }
    const connect = async (other: Uint8Array): Promise<Duplex> => {
      try {
        await device.connect(id, other, peer == null)
      } catch (error) {
        giveUp()
        throw error
      }
      return new RdmaStream(device, id)
    }
    return { info, connect, discard: giveUp }
  }

  #isUsable(device: MessageDevice): boolean {
    return this.#isUp(device) && device.count < this.#options.streamsMax
  }

  #isUp(device: MessageDevice): boolean {
    return this.#health?.isUp(device) === true
  }

  #whyNone(): string {
    return this.#devices.some(device => this.#isUp(device))
      ? `streamsMax (${this.#options.streamsMax}) is reached on every RDMA device that is up`
      : 'no RDMA device is up'
  }

  /** Once: the peers cannot know that it is a limit of this process which keeps connections on their sockets. */
  #sayWhenFull(): void {
    if (this.#saidFull || this.ready) return
    this.#saidFull = true
    this.#logger.warn(`Further RPC connections stay on their sockets: ${this.#whyNone()}`, {
      streamsMax: this.#options.streamsMax,
    })
  }

  /** Each in its turn: where two devices do not reach each other, the next connection tries others. */
  #next(): MessageDevice | undefined {
    const usable = this.#devices.filter(device => this.#isUsable(device))
    return usable[this.#turn++ % usable.length]
  }

  /** The one most likely on the same network: whose address begins most as that of the peer does. */
  #closest(peer: Uint8Array): MessageDevice | undefined {
    const theirs = peer.subarray(GID_AT, GID_AT + GID_BYTES)
    let closest: MessageDevice | undefined
    let most = -1
    for (const device of this.#devices) {
      if (!this.#isUsable(device)) continue
      const common = commonBits(device.port.gid, theirs)
      if (common > most) closest = device
      most = Math.max(most, common)
    }
    return closest
  }
}

/** How many bits two addresses begin with alike. */
export function commonBits(one: Uint8Array, other: Uint8Array): number {
  const at = one.findIndex((byte, index) => byte !== other[index])
  return at < 0 ? one.length * 8 : at * 8 + Math.clz32(one[at]! ^ (other[at] ?? 0)) - 24
}
