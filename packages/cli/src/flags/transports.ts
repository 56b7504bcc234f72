import { MooncakeError, type Logger, type Plugin, type Transport } from '@mooncake-ts/core'
import { shm, whyNotShm } from '@mooncake-ts/transport-shm'
import { tcp } from '@mooncake-ts/transport-tcp'
import { refuseIgnored, type Invocation, type Settings } from './load.js'
import { RDMA_FLAGS, rdmaOf, refuseIgnoredRdma, RPC_PROTOCOL } from './rdma.js'
import type { Flag } from './spec.js'

/** How payload bytes travel; every program that moves some has them. */
export const TRANSPORT_FLAGS: readonly Flag[] = [
  {
    name: 'transport',
    type: 'string',
    help: 'How bytes move: auto is shared memory between processes of one host, and TCP otherwise; rdma goes on over TCP',
    default: 'auto',
    choices: ['auto', 'shm', 'tcp', 'rdma'],
    env: 'MOONCAKE_TRANSPORT',
  },
  {
    name: 'shm_directory',
    type: 'string',
    help: 'Where processes of this host find each other, and containers that share it; empty: /tmp/mooncake-shm-<uid>',
    default: '',
    env: 'MOONCAKE_SHM_DIRECTORY',
  },
  RPC_PROTOCOL,
  ...RDMA_FLAGS,
]

/** @throws ERR_CONFIG for settings that contradict each other, or that nothing would use */
export function refuseWrongTransport(invocation: Invocation): void {
  const { settings, origins } = invocation
  const { transport, protocol } = settings
  const [ofTransport, ofProtocol] = [origins.get('transport'), origins.get('protocol')]
  if (ofTransport != null && ofProtocol != null && transport !== 'auto' && transport !== protocol) {
    const message = `${ofTransport.where}: ${String(transport)} contradicts ${ofProtocol.where}, which is ${String(protocol)}`
    throw new MooncakeError('ERR_CONFIG', message)
  }
  const overRdma = transport === 'rdma' || protocol === 'rdma'
  refuseIgnoredRdma(invocation, overRdma)
  if (overRdma || transport === 'tcp') refuseIgnored(invocation, ['shm_directory'], 'without shared memory')
}

/**
 * Preferred first. Where there can be no shared memory, `auto` says so in the log.
 * @param listen of TCP
 * @throws ERR_CONFIG
 */
export function transportsOf(settings: Settings, listen: string, logger: Logger): Plugin<Transport>[] {
  if (settings.transport === 'tcp') return [tcp({ listen })]
  if (settings.transport === 'rdma' || settings.protocol === 'rdma') {
    return [rdmaOf(settings, listen.slice(0, listen.lastIndexOf(':'))), tcp({ listen })]
  }
  const directory = String(settings.shm_directory ?? '')
  const options = directory === '' ? {} : { socketDirectory: directory }
  const obstacle = whyNotShm(options)
  if (settings.transport === 'shm') {
    if (obstacle == null) return [shm(options)]
    throw new MooncakeError('ERR_CONFIG', `--transport: no shared memory: ${obstacle}`)
  }
  if (obstacle == null) return [shm(options), tcp({ listen })]
  logger.info(`No shared memory, all bytes go over TCP: ${obstacle}`)
  return [tcp({ listen })]
}

/** What makes child processes choose as this one does. */
export function transportEnvironment(settings: Settings): Record<string, string> {
  const given = TRANSPORT_FLAGS.filter(({ name, env }) => env != null && settings[name] != null)
  return Object.fromEntries(given.map(({ name, env }) => [env!, String(settings[name])]))
}
