import {
  asMooncakeError,
  hasCode,
  isRetryable,
  type Completion,
  type Region,
  type Slice,
} from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { BlockContent } from './blocks.js'
import type { ReplayRequest } from './workload.js'

export interface DriverOptions {
  readonly blockBytes: number
  readonly replicas: number
  /** Requests under way at a time. */
  readonly concurrency: number
  readonly requestsMax: number
  /** Called after every request. */
  readonly onProgress: (counts: Readonly<ReplayCounts>) => void
}

export interface ReplayCounts {
  requests: number
  /** Blocks of all requests. */
  blocks: number
  /** Blocks that were read, all of them leading hits. */
  hits: number
  bytesRead: number
  bytesPut: number
  bytesVerified: number
  mismatches: number
  /** Leading hits that were evicted between `exists` and `get`. */
  lost: number
  /** Gets and puts that failed for another reason; the first few are kept. */
  failed: number
  readonly failures: string[]
}

const FAILURES_KEPT = 5

/**
 * What an inference engine does with the pool, request by request: one batched `exists` over the blocks of
 * the prompt, get the leading hits, put the rest. Every byte that comes back is compared with what was put.
 */
export class Driver {
  readonly counts: ReplayCounts = {
    requests: 0,
    blocks: 0,
    hits: 0,
    bytesRead: 0,
    bytesPut: 0,
    bytesVerified: 0,
    mismatches: 0,
    lost: 0,
    failed: 0,
    failures: [],
  }
  readonly #store: Store
  readonly #options: DriverOptions
  readonly #content: BlockContent

  constructor(store: Store, options: DriverOptions) {
    this.#store = store
    this.#options = options
    this.#content = new BlockContent(options.blockBytes)
  }

  async run(
    requests: AsyncIterator<ReplayRequest> | Iterator<ReplayRequest>,
    signal: AbortSignal,
  ): Promise<void> {
    let taken = 0
    const take = async (): Promise<ReplayRequest | undefined> => {
      if (taken++ >= this.#options.requestsMax || signal.aborted) return undefined
      const next = await requests.next()
      return next.done === true ? undefined : next.value
    }
    // An async generator answers one `next` after another by itself, so workers may share it.
    const workers = Array.from({ length: this.#options.concurrency }, () => this.#work(take))
    for (const ended of await Promise.allSettled(workers)) {
      if (ended.status === 'rejected') throw ended.reason // Another one may still have been at work.
    }
  }

  async #work(take: () => Promise<ReplayRequest | undefined>): Promise<void> {
    let buffer: Region | undefined
    try {
      for (let request = await take(); request != null; request = await take()) {
        const neededBytes = request.blockIds.length * this.#options.blockBytes
        if (buffer == null || buffer.byteLength < neededBytes) {
          buffer?.close()
          buffer = this.#store.createRegion(Math.max(neededBytes, 2 ** 20))
        }
        await this.#replay(request.blockIds, buffer).catch((error: unknown) => {
          this.#fail('request', asMooncakeError(error))
        })
      }
    } finally {
      buffer?.close()
    }
  }

  async #replay(blockIds: readonly number[], buffer: Region): Promise<void> {
    const { blockBytes } = this.#options
    const keys = blockIds.map(id => keyOf(id, blockBytes))
    const slices = keys.map((_, index): Slice => ({
      region: buffer,
      offset: index * blockBytes,
      byteLength: blockBytes,
    }))
    const exists = await this.#store.existsMany(keys)
    const missing = exists.indexOf(false)
    const leading = missing < 0 ? keys.length : missing
    const hits = await this.#read(blockIds, keys.slice(0, leading), slices)
    await this.#write(blockIds, keys, slices, hits)
    this.counts.requests++
    this.counts.blocks += keys.length
    this.counts.hits += hits
    this.#options.onProgress(this.counts)
  }

  /** How many leading blocks came back. */
  async #read(
    blockIds: readonly number[],
    keys: readonly string[],
    slices: readonly Slice[],
  ): Promise<number> {
    if (keys.length === 0) return 0
    const came = new Array<boolean>(keys.length).fill(false)
    const transfer = this.#store.getMany(keys, { into: slices.slice(0, keys.length) })
    transfer.completions$.subscribe({
      next: completion => {
        if (completion.error != null) this.#onReadError(completion)
        else
          came[completion.index] = this.#verify(
            blockIds[completion.index]!,
            slices[completion.index]!,
            completion.bytes,
          )
      },
      error: () => {}, // `done` rejects with it.
    })
    await transfer.done
    const gap = came.indexOf(false)
    return gap < 0 ? keys.length : gap
  }

  #verify(id: number, { region, offset }: Slice, byteLength: number): boolean {
    const { counts } = this
    counts.bytesRead += byteLength
    counts.bytesVerified += byteLength
    const matches = this.#content.matches(id, region.view(offset, byteLength))
    if (!matches) counts.mismatches++
    return matches
  }

  async #write(
    blockIds: readonly number[],
    keys: readonly string[],
    slices: readonly Slice[],
    from: number,
  ): Promise<void> {
    const entries = []
    for (let index = from; index < keys.length; index++) {
      const value = slices[index]!
      this.#content.fill(blockIds[index]!, value.region.view(value.offset, value.byteLength))
      entries.push({ key: keys[index]!, value })
    }
    if (entries.length === 0) return
    const transfer = this.#store.putMany(entries, { replicate: { replicaNum: this.#options.replicas } })
    transfer.completions$.subscribe({
      next: ({ error, bytes }) => {
        if (error == null) this.counts.bytesPut += bytes
        else this.#fail('put', error)
      },
      error: () => {},
    })
    await transfer.done
  }

  #onReadError({ error }: Completion): void {
    if (hasCode(error, 'ERR_OBJECT_NOT_FOUND')) this.counts.lost++
    else this.#fail('get', error!)
  }

  #fail(what: string, error: Error): void {
    this.counts.failed++
    const retryable = isRetryable(error) ? ' (retryable)' : ''
    if (this.counts.failures.length < FAILURES_KEPT)
      this.counts.failures.push(`${what}: ${error.message}${retryable}`)
  }
}

function keyOf(id: number, blockBytes: number): string {
  return `replay/${blockBytes}/${id}`
}
