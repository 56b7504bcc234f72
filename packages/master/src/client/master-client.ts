import {
  CLOCK,
  definePlugin,
  DIRECTORY,
  errorCode,
  LOGGER,
  MooncakeError,
  RPC_SERVICE,
  type Clock,
  type Directory,
  type DirectoryHandlers,
  type DirectoryState,
  type Logger,
  type NodeInfo,
  type ReadRoute,
  type ReplicaAdd,
  type ReplicaAddResult,
  type ReplicaRemove,
  type RpcService,
  type Startable,
  type WriteLease,
  type WriteRoute,
  type WriteRouteRequest,
} from '@mooncake-ts/core'
import type { Observable } from 'rxjs'
import { CANDIDATES_MAX, CLIENT_BATCH_KEYS, PAGE_KEYS_MAX } from '../limits.js'
import { hasBit, packKeys } from '../packed-keys.js'
import {
  Exists,
  LeaseWrites,
  List,
  ReadRoutes,
  Remove,
  REMOVE_DONE,
  REMOVE_FAILED,
  RemoveAll,
  RemoveByRegex,
  ReportStale,
  SyncCompleted,
  SyncReplicas,
  WriteRoutes,
  type WriteRoutesMessage,
} from '../protocol.js'
import { decodeRoutes } from '../service/route-codec.js'
import { MasterLink, type Life } from './master-link.js'
import { handleNode } from './node-service.js'
import { MASTER_CLIENT_DEFAULTS, validateClientOptions, type MasterClientOptions } from './options.js'
import { ReplicaFeed } from './replica-feed.js'

const RESYNC_RETRY_MS = 1000

/** A listing without a limit ends here. */
const LIST_KEYS_MAX = 10_000_000

/** The `Directory` contract over RPCs to a master. */
export class MasterClient implements Directory, Startable {
  readonly state$: Observable<DirectoryState>
  readonly #rpc: RpcService
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #link: MasterLink
  readonly #feed: ReplicaFeed
  readonly #handled: Disposable[] = []
  #nodeId: string | undefined
  #resync: { readonly abort: AbortController; readonly done: Promise<void> } | undefined
  /** The master has not been told everything yet. */
  #resyncPending = false

  constructor(
    options: Required<MasterClientOptions>,
    parts: { readonly rpc: RpcService; readonly clock: Clock; readonly logger: Logger },
  ) {
    this.#rpc = parts.rpc
    this.#clock = parts.clock
    this.#logger = parts.logger
    this.#link = new MasterLink(options, parts)
    this.state$ = this.#link.state$.asObservable()
    this.#feed = new ReplicaFeed(async (report, signal) => {
      const life = this.#link.life
      if (life == null) throw new MooncakeError('ERR_MASTER_UNAVAILABLE', 'This node is not registered')
      return (await this.#link.call(SyncReplicas, { ...life, ...report }, signal)).results
    }, options.resyncBatchKeys)
  }

  get state(): DirectoryState {
    return this.#link.state$.value
  }

  get silenceMsMax(): number | undefined {
    return this.#link.clientTtlMs
  }

  /**
   * @throws ERR_INVALID_PARAMS when it has joined already, ERR_SHUTTING_DOWN when it leaves meanwhile, the
   * signal's reason
   */
  async join(node: NodeInfo, handlers: DirectoryHandlers, signal: AbortSignal): Promise<void> {
    if (this.#link.running) throw new MooncakeError('ERR_INVALID_PARAMS', 'This node has joined already')
    this.#nodeId = node.nodeId
    if (node.rpcEndpoint != null) this.#handled.push(...handleNode(this.#rpc, handlers, this.#feed))
    const events = {
      onConnected: (life: Life, isNew: boolean) => {
        if (isNew) this.#resyncPending = handlers.segments().length > 0
        if (this.#resyncPending) this.#startResync(handlers, life)
      },
      onDisconnected: () => {
        this.#resync?.abort.abort(new MooncakeError('ERR_MASTER_UNAVAILABLE'))
      },
    }
    try {
      await this.#link.start({ node, handlers, events }, signal)
    } catch (error) {
      this.#unhandle()
      throw error
    }
  }

  async leave(): Promise<void> {
    await this.#link.stop() // First: a link that comes back would begin another resync.
    this.#resync?.abort.abort(new MooncakeError('ERR_SHUTTING_DOWN', 'The node leaves'))
    await this.#resync?.done
    this.#unhandle()
  }

  stop(): Promise<void> {
    return this.leave()
  }

  async exists(keys: readonly string[], signal?: AbortSignal): Promise<boolean[]> {
    return this.#batched(keys, async part => {
      const { present } = await this.#link.call(Exists, packKeys(part), signal)
      return part.map((_key, i) => hasBit(present, i))
    })
  }

  async readRoutes(keys: readonly string[], signal?: AbortSignal): Promise<Array<ReadRoute | undefined>> {
    return this.#batched(keys, async part =>
      decodeRoutes(await this.#link.call(ReadRoutes, { keys: part }, signal)),
    )
  }

  async writeRoutes(requests: readonly WriteRouteRequest[], signal?: AbortSignal): Promise<WriteRoute[]> {
    return this.#batched(requests, async part => {
      const plain = part.map(request => ({
        ...request,
        candidatesMax: Math.min(request.candidatesMax, CANDIDATES_MAX),
        preferredSegments: request.preferredSegments.slice(0, CANDIDATES_MAX),
      }))
      const caller = this.#nodeId == null ? {} : { nodeId: this.#nodeId }
      return decodeWriteRoutes(await this.#link.call(WriteRoutes, { ...caller, requests: plain }, signal))
    })
  }

  async leaseWrites(
    request: { readonly count: number; readonly byteLengthMax: number; readonly candidatesMax: number },
    signal?: AbortSignal,
  ): Promise<WriteLease> {
    const caller = this.#nodeId == null ? {} : { nodeId: this.#nodeId }
    return await this.#link.call(LeaseWrites, { ...caller, ...request }, signal)
  }

  syncReplicas(
    adds: readonly ReplicaAdd[],
    removes: readonly ReplicaRemove[],
    signal?: AbortSignal,
  ): Promise<ReplicaAddResult[]> {
    return this.#feed.sync(adds, removes, signal)
  }

  async reportStale(
    routes: ReadonlyArray<{ readonly key: string; readonly nodeId: string; readonly generation?: number }>,
  ): Promise<void> {
    await this.#batched(routes, async part => {
      await this.#link.call(ReportStale, { routes: part })
      return part
    })
  }

  async remove(keys: readonly string[], signal?: AbortSignal): Promise<boolean[]> {
    return this.#batched(keys, async part => {
      const { outcomes, unreachable } = await this.#link.call(Remove, { keys: part }, signal)
      if (outcomes.includes(REMOVE_FAILED)) throw notReached(unreachable)
      return part.map((_key, i) => outcomes[i] === REMOVE_DONE)
    })
  }

  async removeByRegex(pattern: string, signal?: AbortSignal): Promise<number> {
    const { removed, unreachable } = await this.#link.call(RemoveByRegex, { pattern }, signal)
    if (unreachable.length > 0) throw notReached(unreachable)
    return removed
  }

  async removeAll(signal?: AbortSignal): Promise<number> {
    const { removed, unreachable } = await this.#link.call(RemoveAll, {}, signal)
    if (unreachable.length > 0) throw notReached(unreachable)
    return removed
  }

  async list(
    { prefix = '', limit = LIST_KEYS_MAX }: { readonly prefix?: string; readonly limit?: number } = {},
    signal?: AbortSignal,
  ): Promise<string[]> {
    const keys: string[] = []
    let cursor: number | undefined = 0
    while (cursor != null && keys.length < limit) {
      const request = { prefix, limit: Math.min(PAGE_KEYS_MAX, limit - keys.length), cursor }
      const page: { keys: string[]; cursor?: number } = await this.#link.call(List, request, signal)
      keys.push(...page.keys)
      cursor = page.cursor
    }
    return keys
  }

  /** Splits a large call; parts run at the same time. */
  async #batched<Item, Result>(
    items: readonly Item[],
    call: (part: Item[]) => Promise<Result[]>,
  ): Promise<Result[]> {
    if (items.length === 0) return []
    if (items.length <= CLIENT_BATCH_KEYS) return call([...items])
    const parts: Array<Promise<Result[]>> = []
    for (let from = 0; from < items.length; from += CLIENT_BATCH_KEYS) {
      parts.push(call(items.slice(from, from + CLIENT_BATCH_KEYS)))
    }
    return (await Promise.all(parts)).flat()
  }

  #startResync(handlers: DirectoryHandlers, life: Life): void {
    const former = this.#resync
    former?.abort.abort(new MooncakeError('ERR_CLIENT_NOT_FOUND', 'Registered again'))
    const abort = new AbortController()
    const run = async (): Promise<void> => {
      await former?.done // Handlers are asked for one snapshot at a time.
      while (this.#resyncPending && !abort.signal.aborted) {
        try {
          await this.#feed.resync(handlers, abort.signal)
          await this.#link.call(SyncCompleted, life, abort.signal)
          this.#resyncPending = false
        } catch (error) {
          this.#logger.warn('Telling the master what this node holds broke off', { code: errorCode(error) })
          await this.#clock.sleep(RESYNC_RETRY_MS, abort.signal).catch(() => {})
        }
      }
    }
    this.#resync = { abort, done: run() }
  }

  #unhandle(): void {
    for (const handled of this.#handled.splice(0)) handled[Symbol.dispose]()
  }
}

function decodeWriteRoutes(message: WriteRoutesMessage): WriteRoute[] {
  const { existing, nodes, candidates, firstGeneration } = message
  const routes = decodeRoutes(existing)
  return candidates.map((row, i) => {
    const found = []
    for (let at = 0; at + 2 < row.length; at += 3) {
      const node = nodes[row[at]!]
      if (node != null) found.push({ ...node, availableBytes: row[at + 1]!, score: row[at + 2]! })
    }
    const there = routes[i]
    const generation = firstGeneration + i
    return { candidates: found, generation, ...(there == null ? {} : { existing: there }) }
  })
}

function notReached(names: readonly string[]): MooncakeError {
  const message = `Not everything was removed; could not be reached: ${names.join(', ')}`
  return new MooncakeError('ERR_RPC_FAIL', message)
}

/**
 * The way of a node to its master.
 *
 * @throws ERR_INVALID_PARAMS, when called with options that do not fit
 *
 * @example
 * const store = await createStore({ name: 'prefill-0', master: masterClient({ endpoints: ['10.0.0.1:50051']
 * }), … })
 */
export const masterClient = definePlugin<Directory, MasterClientOptions>({
  name: '@mooncake-ts/master/client',
  provides: DIRECTORY,
  requires: [RPC_SERVICE, CLOCK, LOGGER],
  defaults: MASTER_CLIENT_DEFAULTS,
  validate: options => {
    validateClientOptions(options as Required<MasterClientOptions>)
  },
  useFactory: (options, scope) =>
    new MasterClient(options as Required<MasterClientOptions>, {
      rpc: scope.get(RPC_SERVICE),
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ part: 'master-client' }),
    }),
})
