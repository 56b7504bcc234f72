import { MooncakeError, type RpcClient, type RpcService } from '@mooncake-ts/core'
import { CLIENT_BATCH_KEYS } from '../limits.js'
import type { NodeRecord } from '../membership/node-record.js'
import { RemoveLocal, RemoveWhere } from '../protocol.js'

/** Keys that a node shall drop, each up to a generation. */
export interface DropOrder {
  readonly keys: readonly string[]
  readonly generationsMax: readonly number[]
}

export interface NodeCallerOptions {
  /** For one message with keys to drop; a RemoveWhere has a longer one of its own. */
  readonly nodeCallDeadlineMs: number
}

/** The calls that the master makes to nodes. */
export class NodeCaller {
  readonly #rpc: RpcService
  readonly #deadlineMs: number
  readonly #closing = new AbortController()

  constructor(rpc: RpcService, options: NodeCallerOptions) {
    this.#rpc = rpc
    this.#deadlineMs = options.nodeCallDeadlineMs
  }

  /** One byte a key: 1 where the node had it and dropped it. @throws what RPCs throw */
  async removeLocal(node: NodeRecord, order: DropOrder): Promise<Uint8Array> {
    const client = this.#clientOf(node)
    const removed = new Uint8Array(order.keys.length)
    for (let from = 0; from < order.keys.length; from += CLIENT_BATCH_KEYS) {
      const to = from + CLIENT_BATCH_KEYS
      const part = { keys: order.keys.slice(from, to), generationsMax: order.generationsMax.slice(from, to) }
      const answer = await client.call(RemoveLocal, part, {
        deadlineMs: this.#deadlineMs,
        signal: this.#closing.signal,
      })
      removed.set(answer.removed.subarray(0, part.keys.length), from)
    }
    return removed
  }

  /** Everything where there is no pattern. @throws what RPCs throw */
  async removeWhere(
    node: NodeRecord,
    pattern: string | undefined,
  ): Promise<{ removed: number; sequence: number }> {
    const { signal } = this.#closing
    return this.#clientOf(node).call(RemoveWhere, pattern == null ? {} : { pattern }, { signal })
  }

  close(): void {
    this.#closing.abort(new MooncakeError('ERR_SHUTTING_DOWN', 'The master is stopping'))
  }

  #clientOf({ name, rpcEndpoint }: NodeRecord): RpcClient {
    if (rpcEndpoint == null) throw new MooncakeError('ERR_NOT_SUPPORTED', `${name} has no rpcEndpoint`)
    return this.#rpc.connect(rpcEndpoint)
  }
}
