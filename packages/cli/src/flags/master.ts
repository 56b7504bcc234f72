import { commonFlags } from './common.js'
import { MASTER_NOT_BUILT } from './master-not-built.js'
import { RPC_FLAGS } from './rdma.js'
import type { Flag } from './spec.js'

/**
 * Settings of `mooncake_master`, with the names and, where the README says nothing else, the defaults of the
 * reference system.
 */
export const MASTER_FLAGS: readonly Flag[] = [
  ...commonFlags('info'),
  {
    name: 'deployment_mode',
    type: 'string',
    help: 'Who allocates space; Centralization is not built yet',
    default: 'P2P',
    choices: ['P2P'],
  },
  { name: 'rpc_port', type: 'port', help: 'Port of the RPC service; 0: the one of --port', default: 0 },
  { name: 'port', type: 'port', help: 'Port of the RPC service (older name)', default: 50051 },
  {
    name: 'rpc_address',
    type: 'string',
    help: 'Address that the RPC service binds; empty: loopback, or all interfaces with a cluster secret',
    default: '',
  },
  {
    name: 'rpc_interface',
    type: 'string',
    help: 'Network interface whose IPv4 address the RPC service binds',
    default: '',
  },
  ...RPC_FLAGS,
  { name: 'metrics_port', type: 'port', help: 'Port of the admin and metrics HTTP server', default: 9003 },
  {
    name: 'metrics_host',
    type: 'string',
    help: 'Address that it binds; empty: as --rpc_address',
    default: '',
  },
  {
    name: 'enable_metric_reporting',
    type: 'bool',
    help: 'Log a line of metrics every 10 seconds',
    default: true,
  },
  {
    name: 'client_ttl',
    type: 'int',
    help: 'Seconds without a heartbeat until a node is DISCONNECTION',
    default: 10,
    min: 2,
  },
  {
    name: 'client_crashed_ttl',
    type: 'int',
    help: 'Seconds without a heartbeat until a node is CRASHED and its routes are dropped',
    default: 30,
    min: 3,
  },
  {
    name: 'max_client_per_key',
    type: 'int',
    help: 'Nodes that may hold one key; 0: as many as puts ask for',
    default: 0,
  },
  ...MASTER_NOT_BUILT,
]
