/**
 * The directory of a cluster: who is alive, which node holds which key, where to write next. And the way of a
 * node to it.
 *
 * @packageDocumentation
 */
export type { AdminOptions } from './admin/admin-server.js'
export { masterClient } from './client/master-client.js'
export type { MasterClientOptions } from './client/options.js'
export { createMaster, type Master, type MasterConfig } from './create-master.js'
export type { MasterOptions } from './options.js'
export type { MasterStats } from './service/stats.js'
