import type { ObjectIdentity, TierAllocation } from '@mooncake-ts/core'
import { RecordCursor } from './index-record.js'
import { RowState, type ObjectRows } from './object-rows.js'

export interface Recovered {
  readonly identity: ObjectIdentity
  readonly allocation: TierAllocation
}

/**
 * Gives what was found in the index to the engine, once. By hand, because an async generator takes longer for
 * each object than everything else together.
 */
export class Recovery implements AsyncIterableIterator<Recovered> {
  readonly #rows: ObjectRows
  readonly #chunks: AsyncGenerator<readonly Buffer[]>
  #payloads: readonly Buffer[] = []
  #nextPayload = 0
  #record = new RecordCursor(Buffer.alloc(0))

  /** @param chunks payloads of the frames of the index */
  constructor(rows: ObjectRows, chunks: AsyncGenerator<readonly Buffer[]>) {
    this.#rows = rows
    this.#chunks = chunks
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<Recovered>> {
    const value = this.#nextHere()
    return value == null ? this.#nextChunk() : Promise.resolve({ value, done: false })
  }

  /** The consumer has enough: the index may be compacted again. */
  async return(): Promise<IteratorResult<Recovered>> {
    await this.#chunks.return(undefined)
    return { value: undefined, done: true }
  }

  async #nextChunk(): Promise<IteratorResult<Recovered>> {
    for (;;) {
      const chunk = await this.#chunks.next()
      if (chunk.done === true) return { value: undefined, done: true }
      this.#payloads = chunk.value
      this.#nextPayload = 0
      const value = this.#nextHere()
      if (value != null) return { value, done: false }
    }
  }

  #nextHere(): Recovered | undefined {
    for (;;) {
      while (this.#record.next()) {
        const found = this.#take(this.#record)
        if (found != null) return found
      }
      const payload = this.#payloads[this.#nextPayload++]
      if (payload == null) return undefined
      this.#record = new RecordCursor(payload)
    }
  }

  #take(record: RecordCursor): Recovered | undefined {
    const rows = this.#rows
    const { row } = record
    if (!record.isAdd || rows.states[row] !== RowState.found || rows.serials[row] !== record.serial)
      return undefined
    rows.states[row] = RowState.logged
    return { identity: record.identity(), allocation: rows.allocationOf(row) }
  }
}
