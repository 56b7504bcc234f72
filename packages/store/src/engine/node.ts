import { randomUUID } from 'node:crypto'
import { GenerationClock, MooncakeError } from '@mooncake-ts/core'
import type {
  Clock,
  Directory,
  DirectoryHandlers,
  EvictionPolicyFactory,
  Logger,
  MemoryProvider,
  Metrics,
  ReplicaAdd,
  RpcService,
  SegmentInfo,
  Startable,
  Tier,
  Transport,
} from '@mooncake-ts/core'
import type { StoreLimits } from '../api/config.js'
import { KeyLocks } from '../local/key-locks.js'
import { LeaseTable } from '../local/leases.js'
import { StagingPool } from '../local/staging-pool.js'
import { TieredBackend, type ObjectMeta, type RemoveReason } from '../local/tiered-backend.js'
import type { SchedulerConfig } from '../tiering/scheduler-config.js'
import { Neighbours } from '../near/neighbours.js'
import { Places } from '../near/places.js'
import { ClientRpcService } from '../peers/client-rpc-service.js'
import { Committer } from '../peers/committer.js'
import { InlineReader } from '../peers/inline-reader.js'
import { InlineWriter } from '../peers/inline-writer.js'
import { ForwardSessions } from '../peers/forward-sessions.js'
import { PeerClient } from '../peers/peer-client.js'
import { RemoteReader } from '../peers/remote-reader.js'
import { RemoteWriter } from '../peers/remote-writer.js'
import { Unannounced } from '../peers/unannounced.js'
import { WritesInFlight } from '../peers/writes-in-flight.js'
import { Novelty } from '../routes/novelty.js'
import { RouteCache } from '../routes/route-cache.js'
import { RouteNotifier } from '../routes/route-notifier.js'
import { Router } from '../routes/router.js'
import { WriteLeases } from '../routes/write-leases.js'
import { Suspects } from '../routes/suspects.js'
import { Admission } from '../transfer/admission.js'
import { TransferSubmitter } from '../transfer/submitter.js'
import { LocalReads } from './local-reads.js'
import { LocalWrites } from './local-writes.js'
import { PeerReads } from './peer-reads.js'
import { PeerWrites } from './peer-writes.js'
import { Reader } from './reader.js'
import { Viewer } from './viewer.js'
import { Writer } from './writer.js'

/** What the composition gives a node. */
export interface NodeParts {
  readonly name: string
  readonly limits: Required<StoreLimits>
  readonly direction: 'reverse' | 'forward'
  /** Absent: objects stay in the tier that they were put into. */
  readonly scheduler?: Required<SchedulerConfig> | undefined
  readonly evictionPolicy: EvictionPolicyFactory
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  readonly memory: MemoryProvider
  readonly rpc: RpcService
  readonly directory: Directory
  readonly transports: readonly Transport[]
  readonly tiers: readonly Tier[]
}

/**
 * One member of the cluster: its tiers, the service that others call, and what reads and writes through
 * others.
 */
export class Node implements Startable {
  readonly nodeId = randomUUID()
  readonly generations: GenerationClock
  readonly admission: Admission
  readonly backend: TieredBackend
  readonly router: Router
  readonly unannounced = new Unannounced()
  readonly #parts: NodeParts
  readonly #notifier: RouteNotifier
  readonly #committer: Committer
  readonly #submitter: TransferSubmitter
  readonly #staging: StagingPool
  readonly #places: Places
  readonly #neighbours: Neighbours
  #sessions: ForwardSessions | undefined
  #service: ClientRpcService | undefined
  #reader: Reader | undefined
  #writer: Writer | undefined
  #viewer: Viewer | undefined

  constructor(parts: NodeParts) {
    const { clock, logger, directory, limits, transports, memory, metrics, tiers, name } = parts
    this.#parts = parts
    this.generations = new GenerationClock(clock)
    this.admission = new Admission(limits)
    this.#notifier = new RouteNotifier(directory, clock, logger, ({ key, generation }) => {
      this.backend.remove(key, generation, 'replaced')
    })
    this.#submitter = new TransferSubmitter(transports, logger)
    this.#staging = new StagingPool(memory, limits.stagingBytesMax)
    this.backend = new TieredBackend({
      tiers,
      memory,
      clock,
      logger,
      metrics,
      evictionHighWatermark: limits.evictionHighWatermark,
      evictionLowWatermark: limits.evictionLowWatermark,
      waitingReservationsMax: limits.queuedOpsMax,
      staging: this.#staging,
      scheduler: tiers.length > 1 ? parts.scheduler : undefined,
      // A put that the directory may still refuse must not be told again as if it were settled.
      mayMove: key => !this.unannounced.has(key),
      foregroundWaiting: () => this.admission.waiting + this.#staging.waiting,
      evictionPolicy: parts.evictionPolicy,
      events: {
        committed: () => {}, // The committer tells the directory, because it waits for the answer.
        copied: (meta, tier) => {
          this.#announce(meta, tier)
          if (tier.supports.directMemory) this.#places.publish(meta.key, meta.generation)
        },
        isViewed: (meta, holding, onLeft) => this.#places.isViewed(meta, holding, onLeft),
        removed: (meta, tier, reason) => {
          this.#withdraw(meta, tier, reason)
        },
      },
    })
    this.#places = new Places({
      backend: this.backend,
      unannounced: this.unannounced,
      memory,
      clock,
      transports,
      placesMax: limits.placesMax,
      keyLeaseMs: limits.keyLeaseMs,
    })
    this.#neighbours = new Neighbours(clock, transports, directory)
    const cache = new RouteCache(clock, { keysMax: limits.routeCacheKeysMax, ttlMs: limits.routeCacheTtlMs })
    const { generations } = this
    const leases = new WriteLeases(directory, clock)
    const [suspects, novelty] = [new Suspects(clock), new Novelty(clock)]
    this.router = new Router({ directory, cache, generations, suspects, leases, novelty, logger })
    this.#committer = new Committer({
      backend: this.backend,
      notifier: this.#notifier,
      unannounced: this.unannounced,
      locks: new KeyLocks(limits.lockShardCount),
      generations: this.generations,
      nodeName: name,
      onKnown: (key, generation) => {
        this.#places.publish(key, generation)
      },
    })
  }

  get reader(): Reader {
    return running(this.#reader)
  }

  get writer(): Writer {
    return running(this.#writer)
  }

  get viewer(): Viewer {
    return running(this.#viewer)
  }

  async start(signal: AbortSignal): Promise<void> {
    const { backend } = this
    const { directory, rpc, clock, limits, name } = this.#parts
    const recovered = await backend.recover()
    if (recovered > 0) this.#parts.logger.info(`Found ${recovered} objects of an earlier life`)
    this.#serve()
    this.#compose()
    const rpcEndpoint = rpc.endpoints[0]
    const info = {
      nodeId: this.nodeId,
      name,
      segments: this.#segments(),
      ...(rpcEndpoint == null ? {} : { rpcEndpoint }),
    }
    const patience = new AbortController()
    using _timer = Number.isFinite(limits.masterWaitMs)
      ? clock.after(limits.masterWaitMs, () => {
          const message = `The master did not answer within ${limits.masterWaitMs} ms`
          patience.abort(new MooncakeError('ERR_MASTER_UNAVAILABLE', message))
        })
      : { [Symbol.dispose]() {} }
    await directory.join(info, this.#handlers(), AbortSignal.any([signal, patience.signal]))
  }

  async stop(): Promise<void> {
    this.#viewer?.close()
    this.#neighbours.close()
    this.#service?.stop()
    this.#places.close()
    this.backend.stopMoving()
    await this.#notifier.close()
    await this.#parts.directory.leave()
    await this.#sessions?.close()
    await this.backend.close()
    await this.#staging.close()
  }

  #serve(): void {
    const { clock, limits, transports, logger, rpc, tiers, memory } = this.#parts
    if (tiers.length === 0) return
    const committer = this.#committer
    const [submitter, staging, writes] = [this.#submitter, this.#staging, new WritesInFlight()]
    const { backend, unannounced } = this
    this.#sessions = new ForwardSessions({
      backend,
      committer,
      unannounced,
      transports,
      logger,
      writes: new LeaseTable({ clock, exclusive: true }),
      pins: new LeaseTable({ clock }),
      keyLeaseMs: limits.keyLeaseMs,
    })
    this.#service = new ClientRpcService(rpc, {
      reader: new RemoteReader(backend, submitter, staging),
      inlineWriter: new InlineWriter({
        backend,
        copyPool: memory.copyPool,
        committer,
        writes,
        unannounced,
        nodeId: this.nodeId,
      }),
      inlineReader: new InlineReader(backend, memory.copyPool),
      writer: new RemoteWriter({
        backend,
        submitter,
        staging,
        committer,
        writes,
        unannounced,
        nodeId: this.nodeId,
      }),
      sessions: this.#sessions,
      unannounced,
      places: this.#places,
      backend,
    })
  }

  #compose(): void {
    const { memory, transports, clock, logger, direction, tiers, rpc, limits } = this.#parts
    const { backend, unannounced, router, admission, nodeId } = this
    const [submitter, staging, committer] = [this.#submitter, this.#staging, this.#committer]
    const peer = (endpoint: string): PeerClient => new PeerClient(rpc, endpoint)
    this.#reader = new Reader({
      backend,
      local: new LocalReads(backend, unannounced, memory),
      peers: new PeerReads({
        transports,
        submitter,
        neighbours: this.#neighbours,
        clock,
        copyPool: memory.copyPool,
        direction,
        inlineBytesMax: limits.inlineBytesMax,
      }),
      peer,
      router,
      admission,
      memory,
      nodeId,
    })
    this.#viewer = new Viewer({
      backend,
      unannounced,
      memory,
      clock,
      logger,
      router,
      reader: this.#reader,
      neighbours: this.#neighbours,
      transports,
      peer,
      nodeId,
      viewsMax: limits.viewsMax,
    })
    this.#writer = new Writer({
      backend,
      unannounced,
      local: new LocalWrites({ backend, unannounced, memory, staging, committer }),
      peers: new PeerWrites({
        transports,
        submitter,
        copyPool: memory.copyPool,
        direction,
        inlineBytesMax: limits.inlineBytesMax,
      }),
      peer,
      router,
      admission,
      inlineBytesMax: limits.inlineBytesMax,
      self: { nodeId, rpcEndpoint: rpc.endpoints[0] ?? '' },
      hasTiers: tiers.length > 0,
    })
  }

  #handlers(): DirectoryHandlers {
    const { backend } = this
    return {
      removeLocal: async (keys, generationMax) => {
        let removed = 0
        for (const key of keys) if (backend.remove(key, generationMax)) removed++
        return await Promise.resolve(removed)
      },
      removeWhere: async pattern => {
        const regex = pattern == null ? undefined : new RegExp(pattern)
        return await backend.removeWhere(meta => regex == null || regex.test(meta.key))
      },
      snapshot: () => this.#snapshot(),
      segments: () => this.#segments(),
    }
  }

  /**
   * Of a copy that nobody waits for. It goes before the withdrawal of the replica that it was made from, so
   * that the directory always knows one.
   */
  #announce({ key, byteLength, generation }: ObjectMeta, tier: Tier): void {
    const told = this.#notifier.add({ key, byteLength, generation, segment: this.#segmentOf(tier) })
    void told.then(refused => {
      if (refused) this.backend.remove(key, generation, 'replaced')
    })
  }

  #withdraw({ key, generation }: ObjectMeta, tier: Tier, reason: RemoveReason): void {
    if (tier.supports.directMemory) this.#places.withdraw(key, generation)
    if (reason !== 'demoted') this.#committer.gone(generation)
    const replica = { key, generation, segment: this.#segmentOf(tier) }
    // Of what it ordered itself (`removed`) the directory gets an answer, and of what a newer generation has
    // `replaced` an add.
    if (reason === 'evicted' || reason === 'demoted' || reason === 'lost') this.#notifier.remove(replica)
    else if (reason === 'removed') this.#notifier.withdraw(replica)
  }

  *#snapshot(): Iterable<ReplicaAdd> {
    for (const { meta, tier } of this.backend.entries()) {
      const { key, byteLength, generation } = meta
      yield { key, byteLength, generation, segment: this.#segmentOf(tier) }
    }
  }

  #segments(): SegmentInfo[] {
    return this.backend.tierViews().map(({ tier, capacityBytes, usedBytes }) => {
      const { kind, priority, tags } = tier
      return { name: this.#segmentOf(tier), kind, priority, tags, capacityBytes, usedBytes }
    })
  }

  #segmentOf(tier: Tier): string {
    return `${this.#parts.name}/${tier.name}`
  }
}

function running<T>(part: T | undefined): T {
  if (part == null) throw new MooncakeError('ERR_SHUTTING_DOWN', 'The node has not started')
  return part
}
