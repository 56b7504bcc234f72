import type { Slice } from '../contracts/memory.js'
import type { Tier, TierAllocation, TierReadOp, TierSupports, TierWriteOp } from '../contracts/tier.js'
import type { CompletionStream } from '../contracts/transfer.js'
import { MooncakeError } from '../errors/error.js'
import { assertSlice, isInside } from '../memory/assert-slice.js'
import { runBatch } from '../transfer/run-batch.js'

export interface BaseTierInit {
  readonly name: string
  readonly kind: string
  readonly capacityBytes: number
  /** @defaultValue 10, slower than DRAM's 100 */
  readonly priority?: number
  readonly tags?: readonly string[]
  readonly supports?: Partial<TierSupports>
  /** Operations that run at a time. @defaultValue 16 */
  readonly concurrencyMax?: number
}

/**
 * A tier for places without an address: files, object stores, another machine. It counts the capacity, hands
 * out ids, checks and runs batches and waits for what runs; a subclass says how one object is written, read
 * and deleted, by id. Its hooks are called with lengths above zero, inside of the object and of the slice's
 * region, and never once `stop` has been called (`_delete` may be).
 */
export abstract class BaseTier implements Tier {
  readonly name: string
  readonly kind: string
  readonly priority: number
  readonly tags: readonly string[]
  readonly supports: TierSupports
  readonly capacityBytes: number
  readonly #concurrencyMax: number
  readonly #running = new Set<Promise<unknown>>()
  #usedBytes = 0
  #nextId = 1
  #stopping = false

  constructor(init: BaseTierInit) {
    if (!Number.isSafeInteger(init.capacityBytes) || init.capacityBytes <= 0) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `${init.name}: capacityBytes must be a positive whole number`,
      )
    }
    this.name = init.name
    this.kind = init.kind
    this.priority = init.priority ?? 10
    this.tags = init.tags ?? []
    this.supports = Object.freeze({
      directMemory: false,
      persistence: false,
      partialRead: true,
      ...init.supports,
    })
    this.capacityBytes = init.capacityBytes
    this.#concurrencyMax = init.concurrencyMax ?? 16
  }

  /**
   * Writes `from` as the object `id`. Settles when the source is not needed any more; gives the bytes
   * written, all or it is an error.
   */
  protected abstract _write(id: number, op: TierWriteOp, signal: AbortSignal): Promise<number>
  /** Fills `into` from byte `offset` of the object `id`; gives the bytes read, all or it is an error. */
  protected abstract _read(id: number, op: TierReadOp, signal: AbortSignal): Promise<number>
  /** The object `id` is not needed any more. It may never have been written. */
  protected abstract _delete(id: number): Promise<void>

  get usedBytes(): number {
    return this.#usedBytes
  }

  allocate(byteLength: number): TierAllocation | undefined {
    if (!Number.isSafeInteger(byteLength) || byteLength < 0)
      throw new RangeError(`Not a length: ${byteLength}`)
    if (byteLength > this.capacityBytes - this.#usedBytes) return undefined
    this.#usedBytes += byteLength
    return { id: this.#nextId++, byteLength }
  }

  free(allocation: TierAllocation): Promise<void> {
    // The space counts as used until the delete is done: the capacity is hard.
    const settle = (): void => {
      this.#usedBytes -= allocation.byteLength
    }
    return this.#track((async () => this._delete(allocation.id))().then(settle, settle))
  }

  write(batch: readonly TierWriteOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return runBatch(batch, { signal, concurrencyMax: this.#concurrencyMax }, (op, s) => {
      this.#check(op.allocation, 0, op.from)
      return this.#whole(op.from.byteLength, () => this._write(op.allocation.id, op, s))
    })
  }

  read(batch: readonly TierReadOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    return runBatch(batch, { signal, concurrencyMax: this.#concurrencyMax }, (op, s) => {
      this.#check(op.allocation, op.offset, op.into)
      return this.#whole(op.into.byteLength, () => this._read(op.allocation.id, op, s))
    })
  }

  /**
   * Ends what runs; what has not started fails with ERR_SHUTTING_DOWN. Subclasses that override it call it
   * first.
   */
  async stop(): Promise<void> {
    this.#stopping = true
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  /** For `recover`: an object of an earlier life, which takes its space and keeps its id. */
  protected adopt(id: number, byteLength: number): TierAllocation {
    this.#usedBytes += byteLength
    this.#nextId = Math.max(this.#nextId, id + 1)
    return { id, byteLength }
  }

  #check(allocation: TierAllocation, offset: number, slice: Slice): void {
    if (this.#stopping) throw new MooncakeError('ERR_SHUTTING_DOWN', `${this.name} is stopping`)
    assertSlice(slice)
    if (isInside(offset, slice.byteLength, allocation.byteLength)) return
    const range = `${slice.byteLength} bytes from ${offset}`
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `${this.name}: ${range} are not inside an object of ${allocation.byteLength}`,
    )
  }

  /** A part of an object is never passed off as the whole (I4). */
  async #whole(byteLength: number, run: () => Promise<number>): Promise<number> {
    if (byteLength === 0) return 0
    const bytes = await this.#track(run())
    if (bytes === byteLength) return bytes
    throw new MooncakeError('ERR_IO', `${this.name} moved ${bytes} bytes of ${byteLength}`)
  }

  #track<T>(running: Promise<T>): Promise<T> {
    this.#running.add(running)
    const forget = (): void => {
      this.#running.delete(running)
    }
    running.then(forget, forget)
    return running
  }
}
