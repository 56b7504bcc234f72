/**
 * An io_uring binding for Node: batches in, batches of completions out, and a thread engine with the same
 * interface where io_uring is refused.
 * @packageDocumentation
 */
export { createIoEngine } from './create.js'
export { errnoName } from './errno.js'
export { tryLockFile } from './files.js'
export {
  closeFd,
  createSocket,
  listenSocket,
  setSocketOptions,
  shutdownSocket,
  socketPeer,
} from './sockets.js'
export type {
  Done,
  IoEngine,
  IoEngineOptions,
  IoEngineStats,
  Ring,
  SocketAddress,
  SocketOptions,
  TransferFlags,
} from './types.js'
