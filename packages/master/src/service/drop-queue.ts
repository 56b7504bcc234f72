import { errorCode, type Clock, type Logger } from '@mooncake-ts/core'
import { CLIENT_BATCH_KEYS } from '../limits.js'
import type { NodeRecord } from '../membership/node-record.js'
import type { NodeCaller } from './node-caller.js'

/**
 * Orders for one node that wait; further ones are forgotten. What a node keeps too much it evicts some day.
 */
const QUEUE_KEYS_MAX = 262_144
const ATTEMPTS_MAX = 4
/** Gathers what one batch of reports supersedes. */
const GATHER_MS = 5
const RETRY_MS = 1000

interface Queue {
  readonly generationsMax: Map<string, number>
  attempts: number
  running: boolean
  timer: Disposable | undefined
}

/**
 * Tells nodes, a little later and in batches, to drop replicas that nobody shall read any more: superseded
 * ones, and what was removed while the node was silent. Tries a bounded number of times; nobody waits for it.
 */
export class DropQueue {
  readonly #caller: NodeCaller
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #queues = new Map<NodeRecord, Queue>()
  #closed = false

  constructor(caller: NodeCaller, clock: Clock, logger: Logger) {
    this.#caller = caller
    this.#clock = clock
    this.#logger = logger
  }

  add(node: NodeRecord, key: string, generationMax: number): void {
    if (this.#closed || node.state === 'CRASHED' || node.rpcEndpoint == null) return
    let queue = this.#queues.get(node)
    if (queue == null) {
      queue = { generationsMax: new Map(), attempts: 0, running: false, timer: undefined }
      this.#queues.set(node, queue)
    }
    const known = queue.generationsMax.get(key)
    if (known == null && queue.generationsMax.size >= QUEUE_KEYS_MAX) return
    queue.generationsMax.set(key, Math.max(generationMax, known ?? generationMax))
    this.#schedule(node, queue, GATHER_MS)
  }

  close(): void {
    this.#closed = true
    for (const queue of this.#queues.values()) queue.timer?.[Symbol.dispose]()
    this.#queues.clear()
  }

  #schedule(node: NodeRecord, queue: Queue, delayMs: number): void {
    if (queue.timer != null || queue.running) return
    queue.timer = this.#clock.after(delayMs, () => {
      queue.timer = undefined
      void this.#flush(node, queue)
    })
  }

  async #flush(node: NodeRecord, queue: Queue): Promise<void> {
    const batch = [...queue.generationsMax].slice(0, CLIENT_BATCH_KEYS)
    for (const [key] of batch) queue.generationsMax.delete(key)
    queue.running = true
    try {
      const keys = batch.map(([key]) => key)
      await this.#caller.removeLocal(node, {
        keys,
        generationsMax: batch.map(([, generation]) => generation),
      })
      queue.attempts = 0
    } catch (error) {
      this.#putBack(node, queue, batch, error)
    } finally {
      queue.running = false
    }
    if (this.#closed) return
    if (queue.generationsMax.size === 0 || node.state === 'CRASHED') this.#queues.delete(node)
    else this.#schedule(node, queue, queue.attempts === 0 ? GATHER_MS : RETRY_MS * 2 ** (queue.attempts - 1))
  }

  #putBack(node: NodeRecord, queue: Queue, batch: ReadonlyArray<[string, number]>, error: unknown): void {
    if (++queue.attempts < ATTEMPTS_MAX) {
      for (const [key, generation] of batch) {
        queue.generationsMax.set(key, Math.max(generation, queue.generationsMax.get(key) ?? generation))
      }
      return
    }
    queue.attempts = 0
    if (this.#closed || node.state === 'CRASHED') return
    const fields = { node: node.name, keys: batch.length, code: errorCode(error) }
    this.#logger.warn('Gave up telling a node to drop superseded replicas', fields)
  }
}
