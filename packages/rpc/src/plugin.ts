import {
  CLOCK,
  definePlugin,
  LOGGER,
  METRICS,
  RPC_CARRIER,
  RPC_SERVICE,
  SECURITY,
  type RpcService,
} from '@mooncake-ts/core'
import { checkOptions, RPC_DEFAULTS, type RpcOptions, type RpcSettings } from './options.js'
import { SocketRpcService } from './service.js'

/**
 * The RpcService of a process.
 *
 * @example
 * const host = await new Host([rpc({ listen: ['127.0.0.1:0'] })]).start()
 * const service = host.get(RPC_SERVICE)
 *
 * @throws ERR_INVALID_PARAMS, when called with options that do not fit
 */
export const rpc = definePlugin<RpcService, RpcOptions>({
  name: '@mooncake-ts/rpc',
  provides: RPC_SERVICE,
  requires: [CLOCK, LOGGER, METRICS, SECURITY],
  uses: [RPC_CARRIER],
  defaults: RPC_DEFAULTS,
  validate: checkOptions,
  useFactory: (options, scope) =>
    new SocketRpcService(options as RpcSettings, {
      clock: scope.get(CLOCK),
      logger: scope.get(LOGGER),
      metrics: scope.get(METRICS),
      security: scope.get(SECURITY),
      carriers: scope.getAll(RPC_CARRIER),
    }),
})
