import { asMooncakeError, MooncakeError } from '@mooncake-ts/core'
import type { CopyOp, MemoryProvider } from '@mooncake-ts/core'
import type { Lease, TieredBackend } from '../local/tiered-backend.js'
import type { Unannounced } from '../peers/unannounced.js'
import { subSlice } from '../transfer/slices.js'
import type { ReadOutcome, ReadTask } from './peer-reads.js'

interface Copy extends CopyOp {
  /** Among the tasks. */
  readonly position: number
}

/**
 * Reads objects that this node holds: out of memory by the copy pool, as one batch; out of other tiers each
 * by itself.
 */
export class LocalReads {
  readonly #backend: TieredBackend
  readonly #unannounced: Unannounced
  readonly #memory: MemoryProvider

  constructor(backend: TieredBackend, unannounced: Unannounced, memory: MemoryProvider) {
    this.#backend = backend
    this.#unannounced = unannounced
    this.#memory = memory
  }

  /** One outcome per task, in order; undefined where the object is gone. */
  async read(tasks: readonly ReadTask[], signal: AbortSignal): Promise<Array<ReadOutcome | undefined>> {
    return await this.#unannounced.whenAnswered(tasks, () => this.#readNow(tasks, signal), signal)
  }

  async #readNow(tasks: readonly ReadTask[], signal: AbortSignal): Promise<Array<ReadOutcome | undefined>> {
    const copies: Copy[] = []
    const leases: Lease[] = []
    const outcomes = tasks.map(
      ({ key, target }, position): ReadOutcome | Promise<ReadOutcome> | undefined => {
        const lease = this.#backend.acquire(key)
        if (lease == null) return undefined
        leases.push(lease)
        const { byteLength, checksum } = lease.meta
        const outcome = { byteLength, ...(checksum == null ? {} : { checksum }) }
        if (byteLength > target.byteLength)
          return { ...outcome, error: new MooncakeError('ERR_BUFFER_OVERFLOW') }
        const into = subSlice(target, 0, byteLength)
        if (lease.slice == null) return this.#readSlow(lease, into, outcome, signal)
        if (byteLength > 0) copies.push({ from: lease.slice, to: into, position })
        return outcome
      },
    )
    const settled = Promise.all(outcomes.map(outcome => Promise.resolve(outcome)))
    const refused = await this.#copy(copies)
    const results = await settled // At rest before the leases go.
    for (const lease of leases) lease.release()
    for (const { position, error } of refused) results[position] = { ...results[position]!, error }
    return results
  }

  /** Those that were refused: together, and so each by itself, as one of them is no reason for the others to fail. */
  async #copy(copies: readonly Copy[]): Promise<ReadonlyArray<{ position: number; error: MooncakeError }>> {
    if (copies.length === 0) return []
    try {
      await this.#memory.copyPool.copy(copies)
      return []
    } catch (error) {
      if (copies.length > 1) return (await Promise.all(copies.map(copy => this.#copy([copy])))).flat()
      return [{ position: copies[0]!.position, error: asMooncakeError(error) }]
    }
  }

  async #readSlow(
    lease: Lease,
    into: ReadTask['target'],
    outcome: ReadOutcome,
    signal: AbortSignal,
  ): Promise<ReadOutcome> {
    try {
      await this.#backend.readInto(lease, 0, into, signal)
      return outcome
    } catch (error) {
      return { ...outcome, error: asMooncakeError(error, 'ERR_IO') }
    }
  }
}
