import {
  GenerationClock,
  CLOCK,
  definePlugin,
  LOGGER,
  METRICS,
  RPC_SERVICE,
  token,
  type Clock,
  type Logger,
  type Metrics,
  type ReadRoute,
  type RpcService,
  type Startable,
} from '@mooncake-ts/core'
import { Membership } from '../membership/membership.js'
import type { NodeRecord, NodeState } from '../membership/node-record.js'
import { MasterGauges } from '../metrics/master-gauges.js'
import { OpMetrics } from '../metrics/op-metrics.js'
import { MASTER_DEFAULTS, validateOptions, type MasterOptions } from '../options.js'
import { WriteRouter } from '../placement/write-router.js'
import { RouteTable } from '../routes/route-table.js'
import { DropQueue } from './drop-queue.js'
import { handleDirectory } from './handlers.js'
import { NodeCaller } from './node-caller.js'
import { Remover } from './remover.js'
import { ReplicaSync } from './replica-sync.js'
import { replicaOf } from './route-codec.js'
import { collectStats, summaryLine, type MasterStats } from './stats.js'
import { Tombstones } from './tombstones.js'

/** The directory service, as the admin pages see it. */
export const MASTER_SERVICE = token<MasterService>('MasterService')

interface Surroundings {
  readonly rpc: RpcService
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Wires the parts of the directory together, and keeps its time. */
export class MasterService implements Startable {
  readonly options: Required<MasterOptions>
  readonly table: RouteTable
  readonly members: Membership
  readonly router: WriteRouter
  /** Of objects to be written: one clock for the cluster, so that no two writes are taken for one. */
  readonly generations: GenerationClock
  readonly remover: Remover
  readonly sync: ReplicaSync
  readonly tombstones: Tombstones
  readonly ops: OpMetrics
  readonly #rpc: RpcService
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #gauges: MasterGauges
  readonly #caller: NodeCaller
  readonly #drops: DropQueue
  readonly #running: Disposable[] = []
  #sweep: Promise<void> | undefined
  #lastReportMs = 0

  constructor(options: Required<MasterOptions>, { rpc, clock, logger, metrics }: Surroundings) {
    this.options = options
    this.#rpc = rpc
    this.#clock = clock
    this.#logger = logger
    const { shardCount, maxClientPerKey, remoteWeight } = options
    this.table = new RouteTable({ shardCount, ownersPerKeyMax: maxClientPerKey })
    this.members = new Membership(clock, this.table.segments, options, {
      onState: (node, from, reason) => {
        this.#onState(node, from, reason)
      },
    })
    this.generations = new GenerationClock(clock)
    this.router = new WriteRouter(this.members, { remoteWeight })
    this.tombstones = new Tombstones(clock, options)
    this.#caller = new NodeCaller(rpc, options)
    this.#drops = new DropQueue(this.#caller, clock, logger)
    this.ops = new OpMetrics(metrics)
    this.#gauges = new MasterGauges(metrics, () => this.stats())
    const { table, members, tombstones, generations } = this
    const drops = this.#drops
    this.remover = new Remover({ table, members, tombstones, drops, caller: this.#caller, logger })
    const { valueSize } = this.#gauges
    this.sync = new ReplicaSync({ table, members, tombstones, generations, drops, valueSize })
  }

  start(): void {
    const { heartbeatMs, metricReportMs } = this.options
    this.#gauges.start()
    this.#lastReportMs = this.#clock.nowMs()
    this.#running.push(
      ...handleDirectory(this.#rpc, this),
      this.#clock.every(heartbeatMs, () => {
        this.members.check(heartbeatMs)
        this.tombstones.expire()
      }),
    )
    if (metricReportMs > 0) {
      this.#running.push(
        this.#clock.every(metricReportMs, () => {
          this.#logger.info(this.summary(true))
        }),
      )
    }
  }

  async stop(): Promise<void> {
    for (const running of this.#running.splice(0)) running[Symbol.dispose]()
    this.#caller.close()
    this.#drops.close()
    this.#gauges.stop()
    await this.#sweep
  }

  stats(): MasterStats {
    return collectStats(this.members, this.table, this.tombstones)
  }

  /** One line for people; `reset` begins a new interval for the rates in it. */
  summary(reset = false): string {
    const nowMs = this.#clock.nowMs()
    const line = summaryLine(this.stats(), this.ops.counts(), nowMs - this.#lastReportMs)
    if (reset) {
      this.ops.resetCounts()
      this.#lastReportMs = nowMs
    }
    return line
  }

  /** What a reader is told of one key. */
  route(key: string): ReadRoute | undefined {
    const entry = this.table.find(key)
    if (entry == null) return undefined
    const { byteLength, generation, segments } = entry
    const replicas = segments.map(number => replicaOf(this.members.segmentByNumber(number)!))
    return { byteLength, generation, replicas }
  }

  #onState(node: NodeRecord, from: NodeState | undefined, reason: string): void {
    const fields = { node: node.name, nodeId: node.nodeId, from, to: node.state, reason }
    if (node.state === 'HEALTH') this.#logger.info(`Node ${node.name} is there: ${reason}`, fields)
    else this.#logger.warn(`Node ${node.name} is away: ${reason}`, fields)
    if (node.state === 'HEALTH' && from === 'DISCONNECTION') this.remover.deliverTombstones(node)
    if (node.state === 'CRASHED') this.#startSweep()
  }

  #startSweep(): void {
    this.#sweep ??= this.table.sweep().finally(() => {
      this.#sweep = undefined
      if (this.table.segments.hasDying()) this.#startSweep()
    })
  }
}

/** The directory service as a plugin; `createMaster` composes it. */
export const masterService = definePlugin<MasterService, MasterOptions>({
  name: '@mooncake-ts/master',
  provides: MASTER_SERVICE,
  requires: [RPC_SERVICE, METRICS, CLOCK, LOGGER],
  defaults: MASTER_DEFAULTS,
  validate: options => {
    validateOptions(options as Required<MasterOptions>)
  },
  useFactory: (options, scope) =>
    new MasterService(options as Required<MasterOptions>, {
      rpc: scope.get(RPC_SERVICE),
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ part: 'master' }),
      metrics: scope.get(METRICS),
    }),
})
