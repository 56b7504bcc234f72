import type { Clock, Directory, Logger, ReplicaAdd, ReplicaAddResult, ReplicaRemove } from '@mooncake-ts/core'
import { AddBatch } from './add-batch.js'

/** Changes of one RPC at most. */
const BATCH_MAX = 2000

/**
 * Changes that may wait for a directory that is away; the oldest go first. A node reports all it holds when
 * it registers again.
 */
const PENDING_MAX = 1_000_000

const RETRY_MS = 100

type Change = { readonly add: ReplicaAdd; batch: AddBatch | undefined } | { readonly remove: ReplicaRemove }

/**
 * Tells the directory what this node holds: in order, many changes to an RPC, one RPC at a time, so that what
 * gathers while one is under way goes with the next (group commit). Only the last change of a key in a
 * segment matters. What could not be told is told again: a directory that was only out of reach for a moment
 * does not ask for everything.
 */
export class RouteNotifier {
  readonly #directory: Directory
  readonly #clock: Clock
  readonly #log: Logger
  readonly #onRefused: (add: ReplicaAdd) => void
  readonly #closing = new AbortController()
  #pending = new Map<string, Change>()
  #telling: ReadonlyMap<string, Change> = new Map()
  #running: Promise<void> | undefined

  /**
   * @param onRefused the directory does not want a replica, and whoever added it was told `ok` while it was
   * away
   */
  constructor(
    directory: Directory,
    clock: Clock,
    logger: Logger,
    onRefused: (add: ReplicaAdd) => void = () => {},
  ) {
    this.#directory = directory
    this.#clock = clock
    this.#log = logger
    this.#onRefused = onRefused
  }

  get pending(): number {
    return this.#pending.size
  }

  /** Settles when the directory knows; true where it does not want the replica. */
  async add(add: ReplicaAdd): Promise<boolean> {
    const batch = new AddBatch()
    this.addTo(batch, add)
    batch.close()
    await batch.answered
    return batch.refused.length > 0
  }

  /** As one of those that somebody waits for together. */
  addTo(batch: AddBatch, add: ReplicaAdd): void {
    batch.expect()
    this.#enqueue(add, { add, batch })
  }

  remove(remove: ReplicaRemove): void {
    this.#enqueue(remove, { remove })
  }

  /**
   * Of a removal that the directory ordered: what it has not heard yet, or is hearing just now, must not
   * bring the key back.
   */
  withdraw(remove: ReplicaRemove): void {
    const name = nameOf(remove)
    if (this.#pending.has(name) || this.#telling.has(name)) this.remove(remove)
  }

  /** Tells what is left, if the directory can be reached, and takes no longer than that. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  #enqueue(replica: { readonly key: string; readonly segment: string }, change: Change): void {
    const name = nameOf(replica)
    const earlier = this.#pending.get(name)
    if (earlier != null) {
      settle(earlier, 'ok') // It is not current any more; nobody needs to hear of it.
      this.#pending.delete(name)
    }
    this.#pending.set(name, change)
    if (this.#pending.size > PENDING_MAX) this.#dropOldest()
    // Deferred, so that what one turn of the event loop says goes in one RPC.
    this.#running ??= Promise.resolve().then(() => this.#drain())
  }

  #dropOldest(): void {
    const oldest = this.#pending.keys().next()
    if (oldest.done === true) return
    settle(this.#pending.get(oldest.value)!, 'ok')
    this.#pending.delete(oldest.value)
  }

  async #drain(): Promise<void> {
    while (this.#pending.size > 0) {
      const batch = this.#take()
      this.#telling = batch
      const heard = await this.#tell([...batch.values()])
      this.#telling = new Map()
      if (heard) continue
      this.#putBack(batch)
      if (this.#closing.signal.aborted) {
        for (const change of this.#pending.values()) settle(change, 'ok') // Also what was not in this batch.
        break
      }
      await this.#clock.sleep(RETRY_MS, this.#closing.signal).catch(() => {})
    }
    this.#running = undefined
  }

  #take(): Map<string, Change> {
    const batch = new Map<string, Change>()
    for (const [name, change] of this.#pending) {
      if (batch.size === BATCH_MAX) break
      batch.set(name, change)
      this.#pending.delete(name)
    }
    return batch
  }

  /** In front of what came meanwhile, and only where that says nothing newer. */
  #putBack(batch: Map<string, Change>): void {
    for (const [name, change] of this.#pending) batch.set(name, change)
    this.#pending = batch
  }

  /** False where the directory did not hear it. */
  async #tell(batch: readonly Change[]): Promise<boolean> {
    const adds: ReplicaAdd[] = []
    const removes: ReplicaRemove[] = []
    for (const change of batch) {
      if ('add' in change) adds.push(change.add)
      else removes.push(change.remove)
    }
    try {
      const results = await this.#directory.syncReplicas(adds, removes)
      let next = 0
      for (const change of batch) {
        if (!('add' in change)) continue
        const result = results[next++] ?? 'ok'
        if (result !== 'ok' && change.batch == null) this.#onRefused(change.add)
        settle(change, result)
      }
      return true
    } catch (error) {
      this.#log.debug('The directory could not be told of changes; they wait', {
        error,
        changes: batch.length,
      })
      for (const change of batch) settle(change, 'ok')
      return false
    }
  }
}

function nameOf({ key, segment }: { readonly key: string; readonly segment: string }): string {
  return `${segment}\n${key}`
}

function settle(change: Change, result: ReplicaAddResult): void {
  if (!('add' in change)) return
  change.batch?.settle(change.add, result)
  change.batch = undefined
}
