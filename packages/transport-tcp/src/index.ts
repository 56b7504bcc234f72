import { CLOCK, definePlugin, LOGGER, METRICS, SECURITY, TRANSPORT, type Transport } from '@mooncake-ts/core'
import { resolveOptions, type TcpOptions } from './options.js'
import { TcpTransport } from './transport.js'

export type { TcpOptions } from './options.js'

/**
 * One-sided READ and WRITE between Regions over TCP.
 *
 * @example
 * const transports = [tcp({ listen: '0.0.0.0:7000' })]
 * @throws ERR_INVALID_PARAMS for options that make no sense
 */
export const tcp = definePlugin<Transport, TcpOptions>({
  name: '@mooncake-ts/transport-tcp',
  provides: TRANSPORT,
  requires: [CLOCK, LOGGER, METRICS, SECURITY],
  validate: options => void resolveOptions(options),
  useFactory: (options, scope) =>
    new TcpTransport(options, {
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ plugin: '@mooncake-ts/transport-tcp' }),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
    }),
})
