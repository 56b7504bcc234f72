import { MooncakeError, type DirectoryHandlers, type RpcService } from '@mooncake-ts/core'
import { RemoveLocal, RemoveWhere } from '../protocol.js'
import type { ReplicaFeed } from './replica-feed.js'

/** Keys dropped at a time: one handler call each, because the master wants to know of every key. */
const DROPS_AT_A_TIME = 256

/** Serves what the master asks of a node. */
export function handleNode(rpc: RpcService, handlers: DirectoryHandlers, feed: ReplicaFeed): Disposable[] {
  return [
    rpc.handle(RemoveLocal, async ({ keys, generationsMax }) => {
      if (generationsMax.length !== keys.length) {
        throw new MooncakeError('ERR_INVALID_PARAMS', 'keys and generationsMax differ in length')
      }
      const removed = new Uint8Array(keys.length)
      for (let from = 0; from < keys.length; from += DROPS_AT_A_TIME) {
        const part = keys.slice(from, from + DROPS_AT_A_TIME)
        const counts = await Promise.all(
          part.map((key, i) => handlers.removeLocal([key], generationsMax[from + i]!)),
        )
        counts.forEach((count, i) => {
          removed[from + i] = count > 0 ? 1 : 0
        })
      }
      // The master drops its routes when it hears from us. A report that we sent before must not come after
      // that.
      await feed.barrier()
      return { removed }
    }),
    rpc.handle(RemoveWhere, async ({ pattern }) => {
      const { sequence } = feed
      const removed = await handlers.removeWhere(pattern)
      await feed.barrier()
      return { removed, sequence }
    }),
  ]
}
