/**
 * The programs `mooncake_master`, `mooncake_client` and `mooncake`; what is exported here starts them from
 * another program.
 *
 * @packageDocumentation
 */
export { LocalCluster, type LocalClusterOptions } from './replay/cluster.js'
export { programPath, ServerProcess, type ExitStatus, type ServerOptions } from './replay/child.js'
