import { randomUUID } from 'node:crypto'
import {
  DIRECTORY,
  errorCode,
  Host,
  RPC_SERVICE,
  type Directory,
  type DirectoryHandlers,
  type NodeInfo,
  type ReplicaAdd,
  type RpcService,
  type SegmentInfo,
  type Startable,
} from '@mooncake-ts/core'
import {
  createMaster,
  masterClient,
  type Master,
  type MasterClientOptions,
  type MasterConfig,
} from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'

export const MIB = 1024 * 1024

export async function failure(running: Promise<unknown>): Promise<string> {
  try {
    await running
  } catch (error) {
    return errorCode(error)
  }
  return 'no error'
}

export function segmentInfo(name: string, fields: Partial<SegmentInfo> = {}): SegmentInfo {
  return { name, kind: 'DRAM', priority: 100, tags: [], capacityBytes: 64 * MIB, usedBytes: 0, ...fields }
}

export function nodeInfo(name: string, fields: Partial<NodeInfo> = {}): NodeInfo {
  return {
    nodeId: randomUUID(),
    name,
    rpcEndpoint: '127.0.0.1:1',
    segments: [segmentInfo(`${name}/dram`)],
    ...fields,
  }
}

/** A master on free ports, quick to notice things. */
export function startMaster(config: MasterConfig = {}): Promise<Master> {
  return createMaster({
    rpc: rpc({ listen: ['127.0.0.1:0'], drainMs: 200 }),
    admin: false,
    heartbeatMs: 20,
    clientTtlMs: 150,
    clientCrashedTtlMs: 400,
    nodeCallDeadlineMs: 1000,
    metricReportMs: 0,
    ...config,
  })
}

interface FakeNodeOptions extends Partial<MasterClientOptions> {
  /** Holds nothing and cannot be called. */
  readonly pureClient?: boolean
  /** Default: one of memory. */
  readonly segments?: readonly SegmentInfo[]
}

/** The master's half of a store: it holds keys without bytes, and does what the directory asks. */
export class FakeNode implements DirectoryHandlers {
  readonly name: string
  readonly info: NodeInfo
  readonly directory: Directory
  /** key → what is held. */
  readonly held = new Map<string, ReplicaAdd>()
  readonly #host: Host
  readonly #joining = new AbortController()
  /** Runs before a removal is carried out. */
  onRemoveLocal: (keys: readonly string[]) => Promise<void> | void = () => {}
  capacityBytes = 64 * MIB

  private constructor(name: string, host: Host, segments: readonly SegmentInfo[]) {
    this.name = name
    this.#host = host
    this.directory = host.get(DIRECTORY)
    const rpcEndpoint = host.get(RPC_SERVICE).endpoints[0]
    this.info = {
      nodeId: randomUUID(),
      name,
      ...(segments.length > 0 && rpcEndpoint != null ? { rpcEndpoint } : {}),
      segments,
    }
  }

  static async start(
    name: string,
    endpoints: readonly string[],
    options: FakeNodeOptions = {},
  ): Promise<FakeNode> {
    const { pureClient = false, segments = [segmentInfo(`${name}/dram`)], ...clientOptions } = options
    const client = masterClient({ endpoints, backoffMinMs: 5, backoffMaxMs: 20, ...clientOptions })
    const fast = { backoffMinMs: 5, backoffMaxMs: 20, drainMs: 200 }
    const transport = rpc(pureClient ? fast : { listen: ['127.0.0.1:0'], ...fast })
    return new FakeNode(name, await new Host([transport, client]).start(), pureClient ? [] : segments)
  }

  static async join(name: string, master: Master, options: FakeNodeOptions = {}): Promise<FakeNode> {
    const node = await FakeNode.start(name, [master.rpcEndpoint], options)
    await node.join()
    return node
  }

  join(signal: AbortSignal = this.#joining.signal): Promise<void> {
    return this.directory.join(this.info, this, signal)
  }

  get segment(): string {
    return `${this.name}/dram`
  }

  /** Puts keys and tells the directory. */
  async put(keys: readonly string[], generation = 1): Promise<string[]> {
    const adds = keys.map(key => ({ key, byteLength: 100, generation, segment: this.segment }))
    for (const add of adds) this.held.set(add.key, add)
    return this.directory.syncReplicas(adds, [])
  }

  /** Gone without a word. */
  async crash(): Promise<void> {
    await (this.#host.get(RPC_SERVICE) as RpcService & Startable).stop?.()
  }

  async close(): Promise<void> {
    this.#joining.abort()
    await this.#host.stop()
  }

  async removeLocal(keys: readonly string[], generationMax: number): Promise<number> {
    await this.onRemoveLocal(keys)
    let removed = 0
    for (const key of keys) {
      if ((this.held.get(key)?.generation ?? Infinity) <= generationMax && this.held.delete(key)) removed++
    }
    return removed
  }

  removeWhere(pattern: string | undefined): Promise<number> {
    const matching = [...this.held.keys()].filter(key => pattern == null || new RegExp(pattern).test(key))
    for (const key of matching) this.held.delete(key)
    return Promise.resolve(matching.length)
  }

  *snapshot(): Iterable<ReplicaAdd> {
    yield* this.held.values()
  }

  segments(): readonly SegmentInfo[] {
    return this.info.segments.map(segment => ({
      ...segment,
      capacityBytes: this.capacityBytes,
      usedBytes: Math.min(this.capacityBytes, this.held.size * 100),
    }))
  }
}

/** Closes what a test opened, the newest first. */
export class Cleanup {
  readonly #closers: Array<() => Promise<unknown>> = []

  add<T extends { close(): Promise<unknown> }>(resource: T): T {
    this.#closers.push(() => resource.close())
    return resource
  }

  async run(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
