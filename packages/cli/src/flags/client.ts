import { EVICTION_POLICIES } from '@mooncake-ts/store'
import { commonFlags } from './common.js'
import type { Settings } from './load.js'
import { notBuilt, ofEnvironment, type Flag } from './spec.js'
import { TRANSPORT_FLAGS } from './transports.js'

/** Where the master is; `mooncake put` and its like have only this. */
export const MASTER_ADDRESS: Flag = {
  name: 'master_server_address',
  type: 'string',
  help: 'host:port of the master; several with commas',
  default: '127.0.0.1:50051',
  env: 'MOONCAKE_MASTER',
}

export function masterEndpoints(settings: Settings): string[] {
  return String(settings.master_server_address)
    .split(/[,;]/)
    .map(text => text.trim())
    .filter(text => text !== '')
}

/** Where other nodes reach this process. */
export const LOCAL_HOST: Flag = {
  name: 'host',
  type: 'string',
  help: 'Address that the listeners bind; empty: loopback, or all interfaces with a cluster secret',
  default: '',
  env: 'MOONCAKE_LOCAL_HOSTNAME',
}

/** Whoever sets it expects keys of its own. */
export const TENANT_ID: Flag = ofEnvironment('MOONCAKE_TENANT_ID', notBuilt('tenant_id', 'string', 'default'))

/** Who goes when a tier is full: the name of a policy. */
export const EVICTION_POLICY: Flag = {
  name: 'eviction_policy',
  type: 'string',
  help: 'Who goes when a tier is full',
  default: 'hit-density',
  choices: Object.keys(EVICTION_POLICIES),
}

/** Settings of `mooncake_client`, a process that contributes tiers to the pool. */
export const CLIENT_FLAGS: readonly Flag[] = [
  ...commonFlags('info'),
  MASTER_ADDRESS,
  {
    name: 'deployment_mode',
    type: 'string',
    help: 'Must be that of the master; Centralization is not built yet',
    default: 'P2P',
    choices: ['P2P'],
  },
  {
    name: 'name',
    type: 'string',
    help: 'Name of the node, unique in the cluster; empty: host name and RPC port',
    default: '',
  },
  LOCAL_HOST,
  { name: 'port', type: 'port', help: 'Port of the data plane, where payload bytes go', default: 50052 },
  {
    name: 'client_rpc_port',
    type: 'port',
    help: 'Port of the RPC service that other nodes call',
    default: 12345,
  },
  {
    name: 'protocol',
    type: 'string',
    help: 'Transport of the data plane between hosts; rdma is what --transport=rdma is',
    default: 'tcp',
    choices: ['tcp', 'rdma'],
    env: 'MOONCAKE_PROTOCOL',
  },
  ...TRANSPORT_FLAGS,
  {
    name: 'tiered_backend_config',
    type: 'string',
    help: 'Tiers as JSON, or the path of a file with it; empty: one DRAM tier of --global_segment_size',
    default: '',
  },
  {
    name: 'global_segment_size',
    type: 'bytes',
    help: 'DRAM that this node contributes when no tiers are given',
    default: 4 * 2 ** 30,
    min: 1,
    env: 'MOONCAKE_GLOBAL_SEGMENT_SIZE',
  },
  {
    name: 'dram_prefault',
    type: 'bool',
    help: 'Take all DRAM from the system at start, rather than when values first come to it',
    default: true,
  },
  {
    name: 'tier_scheduler',
    type: 'bool',
    help: 'Move objects between tiers; without it, what a tier has no room for is evicted',
    default: true,
  },
  {
    name: 'lock_shard_count',
    type: 'int',
    help: 'Stripes of per-key locks',
    default: 1024,
    min: 1,
    env: 'MOONCAKE_DM_LOCK_SHARD_COUNT',
  },
  {
    name: 'route_cache_max_memory',
    type: 'bytes',
    help: 'Memory for cached routes, at about 300 bytes each',
    default: 300 * 2 ** 20,
  },
  {
    name: 'route_cache_ttl_ms',
    type: 'durationMs',
    help: 'How long a route is trusted',
    default: 60_000,
    min: 1,
  },
  {
    name: 'p2p_transfer_direction_mode',
    type: 'string',
    help: 'Who moves the bytes: the owner (reverse) or the caller (forward), which cannot read disks',
    default: 'reverse',
    choices: ['reverse', 'forward'],
  },
  {
    name: 'p2p_key_lease_duration_ms',
    type: 'durationMs',
    help: 'Life of a PreWrite or PinKey; 0: 5000',
    default: 0,
  },
  {
    name: 'eviction_high_watermark_ratio',
    type: 'ratio',
    help: 'Share of a tier above which objects are evicted',
    default: 0.95,
  },
  EVICTION_POLICY,
  { name: 'eviction_low_watermark_ratio', type: 'ratio', help: 'Share down to which they are', default: 0.9 },
  {
    name: 'use_hugepage',
    type: 'bool',
    help: 'Ask for reserved huge pages; transparent ones are used anyway',
    default: false,
    env: 'MC_STORE_USE_HUGEPAGE',
  },
  {
    name: 'enable_http_server',
    type: 'bool',
    help: 'Serve /health and /metrics over HTTP',
    default: false,
    env: 'MOONCAKE_ENABLE_CLIENT_HTTP_SERVER',
  },
  {
    name: 'http_port',
    type: 'port',
    help: 'Port of that server',
    default: 9300,
    env: 'MOONCAKE_CLIENT_HTTP_PORT',
  },
  ofEnvironment(
    'MOONCAKE_TE_META_DATA_SERVER',
    notBuilt('metadata_server', 'string', 'P2PHANDSHAKE', 'Nodes find each other through the master.'),
  ),
  ofEnvironment('MOONCAKE_LOCAL_BUFFER_SIZE', notBuilt('local_buffer_size', 'bytes', 0)),
  notBuilt('threads', 'int', 1, 'One event loop serves all calls.'),
  notBuilt('rpc_thread_num', 'int', undefined, 'One event loop serves all calls.'),
  TENANT_ID,
  ofEnvironment('MOONCAKE_OFFLOAD_ENABLED', notBuilt('enable_offload', 'bool', false)),
  notBuilt('start_offload_rpc_server', 'bool', true),
  notBuilt('use_mmap_arena_allocator', 'bool', false),
  ofEnvironment('MC_MMAP_ARENA_POOL_SIZE', notBuilt('mmap_arena_pool_size', 'bytes', 8 * 2 ** 30)),
  notBuilt(
    'p2p_local_transfer_mode',
    'string',
    'memcpy',
    'Objects of this process are always copied directly.',
  ),
  notBuilt('local_memcpy_async_worker_num', 'int'),
  notBuilt('async_sender_thread_count', 'int'),
  notBuilt('async_max_batch_size', 'int', 2000),
  notBuilt('async_route_queue_size', 'int', 0),
  notBuilt('p2p_key_lease_scan_interval_ms', 'durationMs', undefined, 'Leases end on time, without a scan.'),
  notBuilt('heartbeat_rpc_port', 'port', 0),
  ofEnvironment('MC_RUNTIME_CONFIG', notBuilt('runtime_config', 'string', '')),
  notBuilt('redis_cluster_id', 'string', ''),
  notBuilt('redis_username', 'string', ''),
  notBuilt('redis_password', 'string', ''),
  notBuilt('redis_db_index', 'int', 0),
  notBuilt('redis_master_view_ttl_sec', 'int', 4),
  notBuilt('redis_heartbeat_interval_sec', 'int', 1),
  notBuilt('enable_client_metric_collection', 'bool', true),
  notBuilt('metric_report_interval_seconds', 'int'),
]
