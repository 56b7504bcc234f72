import { CLOCK, definePlugin, LOGGER, METRICS, SECURITY, TRANSPORT, type Transport } from '@mooncake-ts/core'
import { resolveOptions, type RdmaOptions } from './options.js'
import { RdmaTransport } from './transport.js'

export type { RdmaOptions } from './options.js'

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
  requires: [CLOCK, LOGGER, METRICS, SECURITY],
  validate: options => void resolveOptions(options),
  useFactory: (options, scope) =>
    new RdmaTransport(options, {
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ plugin: '@mooncake-ts/transport-rdma' }),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
    }),
})
