import { CLOCK, definePlugin, LOGGER, METRICS, SECURITY, TRANSPORT, type Transport } from '@mooncake-ts/core'
import { SocketDirectory } from './directory.js'
import { native } from './native.js'
import { resolveOptions, type ShmOptions } from './options.js'
import { ShmTransport } from './transport.js'

export type { ShmOptions } from './options.js'

/** Why there can be no shared memory with these options in this process; undefined where there can. */
export function whyNotShm(options: ShmOptions = {}): string | undefined {
  try {
    native()
    new SocketDirectory(resolveOptions(options).socketDirectory).prepare()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/**
 * READ and WRITE between processes of one host, over memory that they map from each other.
 *
 * @example
 * const transports = [shm(), tcp({ listen: '0.0.0.0:7000' })]
 * @throws ERR_INVALID_PARAMS for options that make no sense
 */
export const shm = definePlugin<Transport, ShmOptions>({
  name: '@mooncake-ts/transport-shm',
  provides: TRANSPORT,
  requires: [CLOCK, LOGGER, METRICS, SECURITY],
  validate: options => void resolveOptions(options),
  useFactory: (options, scope) =>
    new ShmTransport(options, {
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER).child({ plugin: '@mooncake-ts/transport-shm' }),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
    }),
})
