import { token } from '../kernel/token.js'
import type { Clock } from './clock.js'
import type { Directory } from './directory.js'
import type { Logger } from './logger.js'
import type { MemoryProvider } from './memory.js'
import type { MetadataStore } from './metadata-store.js'
import type { Metrics } from './metrics.js'
import type { RpcCarrier } from './rpc-carrier.js'
import type { RpcService } from './rpc.js'
import type { Security } from './security.js'
import type { Tier } from './tier.js'
import type { Transport } from './transport.js'

export const CLOCK = token<Clock>('Clock')
export const DIRECTORY = token<Directory>('Directory')
export const LOGGER = token<Logger>('Logger')
export const MEMORY = token<MemoryProvider>('Memory')
export const METADATA_STORE = token<MetadataStore>('MetadataStore')
export const METRICS = token<Metrics>('Metrics')
export const RPC_CARRIER = token<RpcCarrier>('RpcCarrier')
export const RPC_SERVICE = token<RpcService>('RpcService')
export const SECURITY = token<Security>('Security')
export const TIER = token<Tier>('Tier')
export const TRANSPORT = token<Transport>('Transport')
