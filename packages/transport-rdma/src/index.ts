import {
  CLOCK,
  definePlugin,
  LOGGER,
  MEMORY,
  METRICS,
  RPC_CARRIER,
  SECURITY,
  TRANSPORT,
  type RpcCarrier,
  type Transport,
} from '@mooncake-ts/core'
import { resolveOptions, type RdmaOptions } from './options.js'
import { RdmaCarrier } from './rpc/carrier.js'
import { resolveRpcOptions, type RpcOverRdmaOptions } from './rpc/options.js'
import { RdmaTransport } from './transport.js'

export type { RdmaOptions } from './options.js'
export type { RpcOverRdmaOptions } from './rpc/options.js'

/**
 * One-sided READ and WRITE between Regions over RDMA verbs.
 *
 * @example
 * const transports = [rdma({ deviceNames: ['mlx5_0'], listen: '0.0.0.0:7001' }), tcp({ listen: '0.0.0.0:7000' })]
 * @throws ERR_INVALID_PARAMS for options that make no sense
 */
export const rdma = definePlugin<Transport, RdmaOptions>({
  name: '@mooncake-ts/transport-rdma',
  provides: TRANSPORT,
  requires: [CLOCK, LOGGER, MEMORY, METRICS, SECURITY],
  validate: options => void resolveOptions(options),
  useFactory: (options, scope) =>
    new RdmaTransport(options, {
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ plugin: '@mooncake-ts/transport-rdma' }),
      memory: scope.get(MEMORY),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
    }),
})

/**
 * Carries the connections of this process's RpcService over RDMA, to peers that have it too.
 *
 * @example
 * const host = new Host([rpcOverRdma({ deviceNames: ['mlx5_0'] }), rpc({ listen: ['0.0.0.0:50051'] })])
 * @throws ERR_INVALID_PARAMS for options that make no sense
 */
export const rpcOverRdma = definePlugin<RpcCarrier, RpcOverRdmaOptions>({
  name: '@mooncake-ts/transport-rdma/rpc',
  provides: RPC_CARRIER,
  requires: [LOGGER, METRICS],
  validate: options => void resolveRpcOptions(options),
  useFactory: (options, scope) =>
    new RdmaCarrier(options, {
      logger: scope.get(LOGGER).child({ plugin: '@mooncake-ts/transport-rdma/rpc' }),
      metrics: scope.get(METRICS),
    }),
})
