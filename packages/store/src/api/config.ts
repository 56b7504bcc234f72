import type {
  Clock,
  Directory,
  EvictionPolicyFactory,
  Logger,
  MemoryProvider,
  Metrics,
  Plugin,
  RpcCarrier,
  RpcService,
  Security,
  Tier,
  Transport,
} from '@mooncake-ts/core'
import type { SchedulerConfig } from '../tiering/scheduler-config.js'

export type { SchedulerConfig }

/** A node, composed. Order is meaning: transports preferred first, tiers fast to slow. */
export interface StoreConfig {
  /** Unique in the cluster; names the node's segments. */
  readonly name: string
  readonly master: Plugin<Directory>
  readonly transports: readonly Plugin<Transport>[]
  /** None: a pure client. */
  readonly tiers?: readonly Plugin<Tier>[]
  /** @defaultValue `rpc({ listen: ['127.0.0.1:0'] })` */
  readonly rpc?: Plugin<RpcService>
  /** What carries RPC connections to peers that have it too. @defaultValue none: their sockets */
  readonly rpcCarriers?: readonly Plugin<RpcCarrier>[]
  /** @defaultValue `memory()` */
  readonly memory?: Plugin<MemoryProvider>
  readonly security?: Security
  readonly logger?: Logger
  readonly metrics?: Plugin<Metrics>
  readonly clock?: Clock
  readonly limits?: StoreLimits
  /** Who goes when a tier is full; each tier has an instance of its own. @defaultValue `hitDensity()` */
  readonly evictionPolicy?: EvictionPolicyFactory
  /**
   * How objects move between tiers of unequal priority; false: not at all, what a tier has no room for is
   * evicted.
   */
  readonly scheduler?: SchedulerConfig | false
  /**
   * Who moves the bytes between two nodes: `reverse`, the one that holds the tier (one RPC); `forward`, the
   * caller (two RPCs). Transports whose windows cannot be revoked are always used forward. @defaultValue
   * 'reverse'
   */
  readonly transferDirection?: 'reverse' | 'forward'
}

/** Every limit of the engine, with its unit in its name. */
export interface StoreLimits {
  /** Stripes of per-key locks. @defaultValue 1024 */
  readonly lockShardCount?: number
  /** Bytes of payload in flight in one process; a call beyond waits its turn. @defaultValue 256 MiB */
  readonly inflightBytesMax?: number
  /**
   * Objects of one request that have at most so many bytes together travel inside of the RPC instead of by a
   * transport, which is one round trip instead of two; up to 256 KiB, 0 for never. Four times as much for a get
   * over TCP beside which this process has no other under way. @defaultValue 256 KiB
   */
  readonly inlineBytesMax?: number
  /** Memory for objects on their way into or out of tiers without addresses. @defaultValue 64 MiB */
  readonly stagingBytesMax?: number
  /** Operations that may wait; more are refused with ERR_OVERLOADED. @defaultValue 65 536 */
  readonly queuedOpsMax?: number
  /** Eviction begins above this share of a tier's capacity … @defaultValue 0.95 */
  readonly evictionHighWatermark?: number
  /** … and goes on down to this. @defaultValue 0.90 */
  readonly evictionLowWatermark?: number
  /** Keys whose routes are cached. @defaultValue 1 000 000 */
  readonly routeCacheKeysMax?: number
  /** @defaultValue 60 000 */
  readonly routeCacheTtlMs?: number
  /**
   * Life of a PreWrite, of a PinKey, and, from 1000 on, of what a neighbour views without asking. @defaultValue 5000
   */
  readonly keyLeaseMs?: number
  /** Views that `getView` gave and nobody has disposed of; more are refused. At most 262 144. @defaultValue 65 536 */
  readonly viewsMax?: number
  /**
   * Objects in memory that processes of this host find, and copy or view, without asking; 268 bytes each, from the
   * first such process on. Of others they ask as ever. 0 for none. @defaultValue 262 144
   */
  readonly placesMax?: number
  /** Of a call that names none. @defaultValue 10 000 */
  readonly deadlineMs?: number
  /** How long the start waits for the master before it fails; Infinity: for ever. @defaultValue 10 000 */
  readonly masterWaitMs?: number
}
