import { mib, type Clock, type EvictionPolicyFactory, type Logger } from '@mooncake-ts/core'
import type { Plugin, Tier, Transport } from '@mooncake-ts/core'
import { createMaster, masterClient, type Master, type MasterConfig } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { inProcess, InProcessNetwork } from '@mooncake-ts/testkit'
import { dram } from '@mooncake-ts/tier-dram'
import { createStore, type Store, type StoreConfig } from '@mooncake-ts/store'

export interface NodeOptions {
  readonly capacityBytes?: number
  readonly tiers?: readonly Plugin<Tier>[]
  readonly transports?: readonly Plugin<Transport>[]
  readonly transferDirection?: 'reverse' | 'forward'
  readonly limits?: StoreConfig['limits']
  readonly evictionPolicy?: EvictionPolicyFactory
  readonly scheduler?: StoreConfig['scheduler']
  readonly logger?: Logger
  readonly clock?: Clock
  readonly metrics?: StoreConfig['metrics']
}

/** Every way that bytes take between nodes; small objects ride the RPC unless that is turned off. */
export const WAYS = [
  { way: 'inside of the RPC', options: {} },
  { way: 'by the owner', options: { limits: { inlineBytesMax: 0 } } },
  {
    way: 'by the caller',
    options: { transferDirection: 'forward', limits: { inlineBytesMax: 0 } },
  },
] as const satisfies ReadonlyArray<{ readonly way: string; readonly options: NodeOptions }>

/** The stores that most tests of objects use: two that hold, one that only calls. */
export async function threeStores(
  cluster: TestCluster,
  options: NodeOptions,
): Promise<Record<'a' | 'b' | 'client', Store>> {
  return {
    a: await cluster.node('a', options),
    b: await cluster.node('b', options),
    client: await cluster.client('client', options),
  }
}

/** A master and nodes in one process, over real RPC and a network that tests can hold, break and mend. */
export class TestCluster implements AsyncDisposable {
  readonly network = new InProcessNetwork()
  readonly #config: MasterConfig
  readonly #stores: Store[] = []
  master: Master

  private constructor(master: Master, config: MasterConfig) {
    this.master = master
    this.#config = config
  }

  static async start(config: MasterConfig = {}): Promise<TestCluster> {
    const quick = { heartbeatMs: 50, admin: false, ...config }
    return new TestCluster(await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), ...quick }), quick)
  }

  /** Contributes memory. */
  async node(name: string, options: NodeOptions = {}): Promise<Store> {
    return await this.#create(name, {
      ...options,
      tiers: options.tiers ?? [dram({ capacityBytes: options.capacityBytes ?? mib(64) })],
    })
  }

  /** Contributes nothing. */
  async client(name = 'client', options: NodeOptions = {}): Promise<Store> {
    return await this.#create(name, { ...options, tiers: [] })
  }

  async stopMaster(): Promise<void> {
    await this.master.close()
  }

  /** A new life at the old address. */
  async restartMaster(): Promise<void> {
    this.master = await createMaster({ rpc: rpc({ listen: [this.master.rpcEndpoint] }), ...this.#config })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.network.release()
    await Promise.all(this.#stores.map(store => store.close()))
    await this.master.close()
  }

  async #create(name: string, options: NodeOptions): Promise<Store> {
    const { capacityBytes: _, transports, tiers = [], ...rest } = options
    const store = await createStore({
      ...rest,
      name,
      master: masterClient({ endpoints: [this.master.rpcEndpoint], heartbeatMs: 50 }),
      rpc: rpc({ listen: tiers.length > 0 ? ['127.0.0.1:0'] : [] }),
      transports: transports ?? [inProcess({ network: this.network })],
      tiers,
    })
    this.#stores.push(store)
    return store
  }
}
