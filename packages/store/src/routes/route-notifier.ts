import type { Directory, Logger, ReplicaAdd, ReplicaAddResult, ReplicaRemove } from '@mooncake-ts/core'

/** Changes of one RPC at most. */
const BATCH_MAX = 2000

interface PendingAdd {
  readonly add: ReplicaAdd
  settle(result: ReplicaAddResult): void
}

type Change = { readonly add: PendingAdd } | { readonly remove: ReplicaRemove }

/**
 * Tells the directory what this node holds: in order, many changes to an RPC, one RPC at a time, so that what gathers while one is under way goes
 * with the next (group commit). While the directory is away changes are dropped: it asks for everything when it is back.
 */
export class RouteNotifier {
  readonly #directory: Directory
  readonly #log: Logger
  #changes: Change[] = []
  #running: Promise<void> | undefined

  constructor(directory: Directory, logger: Logger) {
    this.#directory = directory
    this.#log = logger
  }

  /** Settles when the directory knows, or cannot be told now (then `ok`). */
  add(add: ReplicaAdd): Promise<ReplicaAddResult> {
    return new Promise(settle => {
      this.#changes.push({ add: { add, settle } })
      this.#start()
    })
  }

  remove(remove: ReplicaRemove): void {
    this.#changes.push({ remove })
    this.#start()
  }

  /** Settles when everything that was said so far has been told. */
  async flush(): Promise<void> {
    while (this.#running != null) await this.#running
  }

  #start(): void {
    // Deferred, so that what one turn of the event loop says goes in one RPC.
    this.#running ??= Promise.resolve().then(() => this.#drain())
  }

  async #drain(): Promise<void> {
    while (this.#changes.length > 0) {
      const batch = this.#changes.slice(0, BATCH_MAX)
      this.#changes = this.#changes.slice(BATCH_MAX)
      await this.#tell(batch)
    }
    this.#running = undefined
  }

  async #tell(batch: readonly Change[]): Promise<void> {
    const adds: PendingAdd[] = []
    const removes: ReplicaRemove[] = []
    for (const change of batch) {
      if ('add' in change) adds.push(change.add)
      else removes.push(change.remove)
    }
    const results = await this.#sync(
      adds.map(pending => pending.add),
      removes,
    )
    adds.forEach((pending, index) => {
      pending.settle(results?.[index] ?? 'ok')
    })
  }

  async #sync(adds: ReplicaAdd[], removes: ReplicaRemove[]): Promise<ReplicaAddResult[] | undefined> {
    try {
      return await this.#directory.syncReplicas(adds, removes)
    } catch (error) {
      this.#log.debug('The directory could not be told; it will ask for everything when it is back', {
        error,
      })
      return undefined
    }
  }
}
