import type { Tier, TierAllocation, TierReadOp, TierSupports, TierWriteOp } from '../contracts/tier.js'
import type { CompletionStream } from '../contracts/transfer.js'
import { MooncakeError } from '../errors/error.js'
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
 * A tier for places without an address: files, object stores, another machine. It counts the capacity, hands out ids, runs batches and
 * waits for what runs; a subclass says how one object is written, read and deleted, by id.
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

  /** Writes `from` as the object `id`. Settles when the source is not needed any more; gives the bytes written. */
  protected abstract _write(id: number, op: TierWriteOp, signal: AbortSignal): Promise<number>
  /** Fills `into` from byte `offset` of the object `id`; gives the bytes read. */
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

  free(allocation: TierAllocation): void {
    // The space counts as used until the delete is done: the capacity is hard.
    const settle = (): void => {
      this.#usedBytes -= allocation.byteLength
    }
    void this.#track(this._delete(allocation.id).then(settle, settle))
  }

  write(batch: readonly TierWriteOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    const options = { signal, concurrencyMax: this.#concurrencyMax }
    return runBatch(batch, options, (op, s) => this.#track(this._write(op.allocation.id, op, s)))
  }

  read(batch: readonly TierReadOp[], { signal }: { readonly signal: AbortSignal }): CompletionStream {
    const options = { signal, concurrencyMax: this.#concurrencyMax }
    return runBatch(batch, options, (op, s) => this.#track(this._read(op.allocation.id, op, s)))
  }

  /** Waits for what runs. Subclasses that override it call it first. */
  async stop(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
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
