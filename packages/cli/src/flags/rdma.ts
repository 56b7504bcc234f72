import { MooncakeError, type Plugin, type RpcCarrier, type Transport } from '@mooncake-ts/core'
import { rdma, rpcOverRdma, type RdmaOptions, type RpcOverRdmaOptions } from '@mooncake-ts/transport-rdma'
import { refuseIgnored, type Invocation, type Settings } from './load.js'
import type { Flag } from './spec.js'

interface RdmaFlag extends Flag {
  readonly option: keyof RdmaOptions
  /** What the flag counts in; the option has milliseconds. */
  readonly seconds?: true
}

/**
 * Settings of RDMA, with the environment names of the reference system. Without a default: the transport's own
 * counts, which its README tells.
 */
const NUMBERS: readonly RdmaFlag[] = [
  number('rdma_port', 'MC_IB_PORT', 'port', 'Port of each RDMA device'),
  number(
    'rdma_gid_index',
    'MC_GID_INDEX',
    'gidIndex',
    "Index in the port's GIDs; none: RoCE v2 with an IPv4 address",
  ),
  number('rdma_mtu', 'MC_MTU', 'mtu', 'Largest MTU in bytes'),
  number('rdma_qp_per_link', 'MC_NUM_QP_PER_EP', 'queuePairsPerLink', 'Queue pairs of one connection'),
  number('rdma_max_wr', 'MC_MAX_WR', 'queueDepth', 'Work requests in flight on a queue pair'),
  number(
    'rdma_max_cqe',
    'MC_MAX_CQE_PER_CTX',
    'completionsMax',
    'Places in the completion queue of a device',
  ),
  number('rdma_max_inline', 'MC_MAX_INLINE', 'inlineBytesMax', 'Bytes that travel in a work request'),
  number('rdma_max_links', 'MC_MAX_EP_PER_CTX', 'linksMax', 'Connections that are kept open'),
  { ...number('rdma_slice_size', 'MC_SLICE_SIZE', 'sliceBytes', 'Bytes of one work request'), type: 'bytes' },
  number('rdma_retry_cnt', 'MC_RETRY_CNT', 'retriesMax', 'How often an operation is posted again'),
  number('rdma_service_level', 'MC_IB_SL', 'serviceLevel', 'Service level'),
  number('rdma_traffic_class', 'MC_IB_TC', 'trafficClass', 'Traffic class'),
  number('rdma_pkey_index', 'MC_PKEY_INDEX', 'pkeyIndex', "Index in the port's partition keys"),
  {
    ...number(
      'rdma_rail_pause',
      'MC_RDMA_RAIL_PAUSE_SECONDS',
      'devicePauseMs',
      'Seconds without a device that failed',
    ),
    seconds: true,
  },
]

function number(name: string, env: string, option: keyof RdmaOptions, help: string): RdmaFlag {
  return { name, type: 'int', help, env, option }
}

const DEVICE_NAMES: Flag = {
  name: 'device_names',
  type: 'string',
  help: 'RDMA devices to use, with commas; empty: all',
  default: '',
  env: 'MOONCAKE_DEVICE',
}

/** How calls travel; programs that also move payload have it among the flags of transports. */
export const RPC_PROTOCOL: Flag = {
  name: 'rpc_protocol',
  type: 'string',
  help: 'How calls travel: rdma to peers that have it too, and TCP to others',
  default: 'tcp',
  choices: ['tcp', 'rdma'],
  env: 'MC_RPC_PROTOCOL',
}

/** What RPC over RDMA has of the settings of the transport. */
const OF_RPC: ReadonlySet<keyof RdmaOptions> = new Set<keyof RpcOverRdmaOptions & keyof RdmaOptions>([
  'port',
  'gidIndex',
  'mtu',
  'inlineBytesMax',
  'serviceLevel',
  'trafficClass',
  'pkeyIndex',
])

/** Of a program that has no other use for RDMA. */
export const RPC_FLAGS: readonly Flag[] = [
  RPC_PROTOCOL,
  DEVICE_NAMES,
  ...NUMBERS.filter(({ option }) => OF_RPC.has(option)).map(withoutOption),
]

export const RDMA_FLAGS: readonly Flag[] = [
  DEVICE_NAMES,
  {
    name: 'handshake_port',
    type: 'port',
    help: 'TCP port where peers connect before they use RDMA; 0: any',
    default: 0,
    env: 'MC_HANDSHAKE_PORT',
  },
  {
    name: 'rdma_relaxed_ordering',
    type: 'bool',
    help: 'PCIe relaxed ordering of what peers write',
    default: false,
    env: 'MC_IB_PCI_RELAXED_ORDERING',
  },
  ...NUMBERS.map(withoutOption),
]

/**
 * @param forTransport whether payload goes over RDMA
 * @throws ERR_CONFIG for settings of RDMA where nothing uses them
 */
export function refuseIgnoredRdma(invocation: Invocation, forTransport: boolean): void {
  if (forTransport) return
  const forRpc = invocation.settings.rpc_protocol === 'rdma'
  const used = new Set(forRpc ? RPC_FLAGS.map(({ name }) => name) : [])
  const ignored = RDMA_FLAGS.map(({ name }) => name).filter(name => !used.has(name))
  refuseIgnored(invocation, ignored, forRpc ? 'without --transport=rdma' : 'where nothing goes over RDMA')
}

function withoutOption({ option: _option, seconds: _seconds, ...flag }: RdmaFlag): Flag {
  return flag
}

/** @throws ERR_CONFIG */
export function rdmaOf(settings: Settings, host: string): Plugin<Transport> {
  const options: RdmaOptions = {
    ...optionsOf(settings, NUMBERS),
    listen: `${host}:${Number(settings.handshake_port)}`,
    relaxedOrdering: settings.rdma_relaxed_ordering === true,
  }
  return checked(() => rdma(options))
}

/**
 * What carries RPC connections; nothing for TCP.
 * @param options `optional` lets a program without a device go on over TCP
 * @throws ERR_CONFIG
 */
export function carriersOf(settings: Settings, { optional = false } = {}): Plugin<RpcCarrier>[] {
  if (settings.rpc_protocol !== 'rdma') return []
  const numbers = NUMBERS.filter(({ option }) => OF_RPC.has(option))
  return [checked(() => rpcOverRdma({ ...optionsOf(settings, numbers), optional }))]
}

function optionsOf(settings: Settings, numbers: readonly RdmaFlag[]): RdmaOptions {
  const given = numbers.flatMap(({ name, option, seconds }) => {
    const value = settings[name]
    return value == null ? [] : [[option, seconds ? Number(value) * 1000 : Number(value)] as const]
  })
  const names = String(settings.device_names ?? '')
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
  return { ...Object.fromEntries(given), ...(names.length === 0 ? {} : { deviceNames: names }) }
}

function checked<T>(make: () => T): T {
  try {
    return make()
  } catch (cause) {
    throw new MooncakeError('ERR_CONFIG', (cause as Error).message, { cause })
  }
}
