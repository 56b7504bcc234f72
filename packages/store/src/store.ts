import { Observable } from 'rxjs'
import { asMooncakeError, Transfer } from '@mooncake-ts/core'
import { MooncakeError, hasCode } from '@mooncake-ts/core'
import type {
  Clock,
  Completion,
  Directory,
  DirectoryState,
  Host,
  MemoryProvider,
  PluginReport,
  Region,
  Slice,
} from '@mooncake-ts/core'
import type { StoreLimits } from './api/config.js'
import type { CallOptions, GetOptions, Payload, PutEntry, PutOptions } from './api/options.js'
import type { Store } from './api/store.js'
import type { ObjectView } from './api/view.js'
import { checksumsOf } from './engine/checksum.js'
import { Deadline } from './engine/deadline.js'
import { assertKey, replicateTerms } from './engine/arguments.js'
import type { Node } from './engine/node.js'
import type { NewObject } from './engine/write.js'
import { BufferScope, totalBytes } from './transfer/buffers.js'

export interface StoreHandleInit {
  readonly name: string
  readonly host: Host
  readonly node: Node
  readonly directory: Directory
  readonly memory: MemoryProvider
  readonly clock: Clock
  readonly limits: Required<StoreLimits>
}

/**
 * The Store that `createStore` gives: arguments are checked here, calls are counted here so that `close` can
 * wait for them.
 */
export class StoreHandle implements Store {
  readonly name: string
  readonly #init: StoreHandleInit
  readonly #calls = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  constructor(init: StoreHandleInit) {
    this.name = init.name
    this.#init = init
  }

  get directoryState(): DirectoryState {
    return this.#init.directory.state
  }

  async put(key: string, value: Payload, options: PutOptions = {}): Promise<void> {
    await single(this.putMany([{ key, value }], options))
  }

  async upsert(key: string, value: Payload, options: PutOptions = {}): Promise<void> {
    await single(this.putMany([{ key, value }], { ...options, upsert: true }))
  }

  putMany(entries: readonly PutEntry[], options: PutOptions & { readonly upsert?: boolean } = {}): Transfer {
    const terms = replicateTerms(options.replicate)
    return this.#transfer(options, entries.length, async (deadline, emit) => {
      const { node, memory } = this.#init
      for (const { key } of entries) assertKey(key)
      using buffers = new BufferScope(memory)
      const payloads = entries.map(({ value }) => buffers.payload(value))
      const checksums = options.checksum === true ? await checksumsOf(memory.copyPool, payloads) : []
      const objects = entries.map(({ key }, index): NewObject => {
        const parts = payloads[index]!
        return { key, parts, byteLength: totalBytes(parts), checksum: checksums[index] }
      })
      await node.writer.run(objects, { ...terms, deadline, upsert: options.upsert === true }, emit)
    })
  }

  async get(key: string, options: GetOptions = {}): Promise<Uint8Array | undefined> {
    assertKey(key)
    const { verify = false } = options
    return await this.#call(options, async deadline => {
      const { memory } = this.#init
      const { backend, router, reader } = this.#init.node
      // The length is only a hint between asking for it and reading: an upsert may come in between.
      for (let attempt = 0; ; attempt++) {
        const known =
          backend.peek(key) ?? router.cached(key) ?? (await router.lookUp([key], deadline.signal))[0]
        if (known == null) return undefined
        const value = new Uint8Array(known.byteLength)
        using buffers = new BufferScope(memory)
        let read: Completion | undefined
        await reader.run([key], [buffers.slice(value)], { deadline, verify }, completion => {
          read = completion
        })
        const { bytes, error } = read!
        if (error == null) return value.subarray(0, bytes)
        if (hasCode(error, 'ERR_OBJECT_NOT_FOUND')) return undefined
        if (!hasCode(error, 'ERR_BUFFER_OVERFLOW') || attempt === 2) throw error
        router.forget(key)
      }
    })
  }

  async getInto(
    key: string,
    into: Slice | Uint8Array,
    options: GetOptions = {},
  ): Promise<number | undefined> {
    try {
      return await single(this.getMany([key], { ...options, into: [into] }))
    } catch (error) {
      if (hasCode(error, 'ERR_OBJECT_NOT_FOUND')) return undefined
      throw error
    }
  }

  getMany(
    keys: readonly string[],
    options: GetOptions & { readonly into: ReadonlyArray<Slice | Uint8Array> },
  ): Transfer {
    const { into, verify = false } = options
    return this.#transfer(options, keys.length, async (deadline, emit) => {
      if (into.length !== keys.length) {
        const message = `into: expected one destination for each of ${keys.length} keys, got ${into.length}`
        throw new MooncakeError('ERR_INVALID_PARAMS', message)
      }
      for (const key of keys) assertKey(key)
      const { node, memory } = this.#init
      using buffers = new BufferScope(memory)
      const targets = into.map(target => buffers.slice(target))
      await node.reader.run(keys, targets, { deadline, verify }, emit)
    })
  }

  async getView(key: string, options: CallOptions = {}): Promise<ObjectView | undefined> {
    return (await this.getViews([key], options))[0]
  }

  async getViews(keys: readonly string[], options: CallOptions = {}): Promise<Array<ObjectView | undefined>> {
    for (const key of keys) assertKey(key)
    return await this.#call(options, deadline => this.#init.node.viewer.views(keys, deadline))
  }

  async exists(key: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.existsMany([key], options))[0]!
  }

  async existsMany(keys: readonly string[], options: CallOptions = {}): Promise<boolean[]> {
    for (const key of keys) assertKey(key)
    return await this.#call(options, async ({ signal }) => {
      const { node, directory } = this.#init
      const exists = keys.map(key => node.backend.has(key) && !node.unannounced.has(key))
      const elsewhere = keys.flatMap((key, index) => (exists[index] === true ? [] : [{ key, index }]))
      if (elsewhere.length === 0) return exists
      try {
        const answers = await directory.exists(
          elsewhere.map(({ key }) => key),
          signal,
        )
        elsewhere.forEach(({ index }, position) => {
          exists[index] = answers[position]!
        })
      } catch (error) {
        if (!hasCode(error, 'ERR_MASTER_UNAVAILABLE')) throw error
        for (const { key, index } of elsewhere) exists[index] = node.router.cached(key) != null
      }
      return exists
    })
  }

  async size(key: string, options: CallOptions = {}): Promise<number | undefined> {
    assertKey(key)
    return await this.#call(options, async ({ signal }) => {
      const { backend, router } = this.#init.node
      // A cached route may be older than a removal or an upsert.
      const known =
        backend.peek(key) ??
        (router.away ? router.cached(key) : undefined) ??
        (await router.lookUp([key], signal))[0]
      return known?.byteLength
    })
  }

  async remove(key: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.removeMany([key], options))[0]!
  }

  async removeMany(keys: readonly string[], options: CallOptions = {}): Promise<boolean[]> {
    for (const key of keys) assertKey(key)
    return await this.#call(options, async ({ signal }) => {
      for (const key of keys) this.#init.node.router.forget(key)
      return await this.#init.directory.remove(keys, signal)
    })
  }

  async removeByRegex(pattern: string, options: CallOptions = {}): Promise<number> {
    return await this.#call(options, async ({ signal }) => {
      this.#init.node.router.forgetAll()
      return await this.#init.directory.removeByRegex(pattern, signal)
    })
  }

  async removeAll(options: CallOptions = {}): Promise<number> {
    return await this.#call(options, async ({ signal }) => {
      this.#init.node.router.forgetAll()
      return await this.#init.directory.removeAll(signal)
    })
  }

  async list(
    options: CallOptions & { readonly prefix?: string; readonly limit?: number } = {},
  ): Promise<string[]> {
    return await this.#call(options, async ({ signal }) => await this.#init.directory.list(options, signal))
  }

  createRegion(byteLength: number): Region {
    return this.#init.memory.createRegion({ byteLength, label: `${this.name} caller` })
  }

  explain(): PluginReport[] {
    return this.#init.host.explain()
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #drain(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls) // Each ends by its deadline.
    await this.#init.host.stop()
  }

  #transfer(
    options: CallOptions,
    count: number,
    post: (deadline: Deadline, emit: (completion: Completion) => void) => Promise<void>,
  ): Transfer {
    this.#assertOpen()
    const stream = (signal: AbortSignal): Observable<Completion> =>
      new Observable(subscriber => {
        const deadline = this.#deadline(options, signal)
        const ended = new Uint8Array(count)
        const emit = (completion: Completion): void => {
          ended[completion.index] = 1
          subscriber.next(completion)
        }
        const fail = (error: unknown): void => {
          if (signal.aborted || deadline.error == null) {
            subscriber.error(signal.aborted ? signal.reason : asMooncakeError(error))
            return
          }
          // The time is up for what has not ended; the rest of the batch stands.
          ended.forEach((done, index) => {
            if (done === 0) subscriber.next({ index, bytes: 0, error: deadline.error! })
          })
          subscriber.complete()
        }
        post(deadline, emit)
          .then(() => {
            subscriber.complete()
          }, fail)
          .finally(() => {
            deadline[Symbol.dispose]()
          })
      })
    const transfer = new Transfer(stream, options.signal == null ? {} : { signal: options.signal })
    this.#track(transfer.done)
    return transfer
  }

  async #call<T>(options: CallOptions, run: (deadline: Deadline) => Promise<T>): Promise<T> {
    this.#assertOpen()
    using deadline = this.#deadline(options, options.signal)
    const call = run(deadline)
    this.#track(call)
    return await call
  }

  #deadline(options: CallOptions, signal: AbortSignal | undefined): Deadline {
    const { clock, limits } = this.#init
    const { deadlineMs = limits.deadlineMs } = options
    if (!(deadlineMs > 0)) {
      const message = `deadlineMs: expected a positive number of milliseconds, got ${String(deadlineMs)}`
      throw new MooncakeError('ERR_INVALID_PARAMS', message)
    }
    return new Deadline(clock, deadlineMs, signal)
  }

  #track(call: Promise<unknown>): void {
    this.#calls.add(call)
    const forget = (): void => {
      this.#calls.delete(call)
    }
    call.then(forget, forget)
  }

  #assertOpen(): void {
    if (this.#closing != null)
      throw new MooncakeError('ERR_SHUTTING_DOWN', `The store ${this.name} is closed`)
  }
}

/** The bytes of a batch of one. */
async function single(transfer: Transfer): Promise<number> {
  let only: Completion | undefined
  transfer.completions$.subscribe({
    next: completion => {
      only = completion
    },
    error: () => {}, // `done` rejects with it.
  })
  await transfer.done
  if (only?.error != null) throw only.error
  return only?.bytes ?? 0
}
