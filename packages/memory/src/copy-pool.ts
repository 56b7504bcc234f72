import { asMooncakeError, assertSlice, KIB, MooncakeError } from '@mooncake-ts/core'
import type { CopyOp, CopyPool, Region, Slice } from '@mooncake-ts/core'
import { native, type NativeCopyPool } from './native.js'
import { assertInteger } from './options.js'

export interface CopyPoolOptions {
  /** From 1 to 64. @defaultValue 2 */
  readonly threads?: number
  /**
   * Batches of at most this many bytes in all run at once, on the JavaScript thread: waking a thread and
   * being woken by it takes longer than moving them. @defaultValue 256 KiB
   */
  readonly inlineBytesMax?: number
  /** A batch that would exceed it is refused with ERR_OVERLOADED, unless it is alone. @defaultValue 65 536 */
  readonly inflightOpsMax?: number
}

const THREADS_MAX = 64

/** @throws ERR_INVALID_PARAMS */
export function assertCopyThreads(threads: number): void {
  assertInteger('threads', threads, 1, THREADS_MAX)
}

/**
 * Threads that copy and checksum. The operations of one batch run in any order and at the same time: where
 * one reads what another writes, put them into two batches, and wait in between. One operation may overlap
 * itself.
 * @throws ERR_INVALID_PARAMS, ERR_OUT_OF_MEMORY, ERR_NATIVE_MISSING
 */
export function createCopyPool(options: CopyPoolOptions = {}): CopyPool & AsyncDisposable {
  const { threads = 2, inlineBytesMax = 256 * KIB, inflightOpsMax = 65_536 } = options
  assertCopyThreads(threads)
  assertInteger('inlineBytesMax', inlineBytesMax, 0, Number.MAX_SAFE_INTEGER)
  assertInteger('inflightOpsMax', inflightOpsMax, 1, Number.MAX_SAFE_INTEGER)
  try {
    return new ThreadedCopyPool(new (native().CopyPool)(threads, inlineBytesMax, inflightOpsMax))
  } catch (error) {
    throw asMooncakeError(error)
  }
}

class ThreadedCopyPool implements CopyPool, AsyncDisposable {
  readonly #native: NativeCopyPool
  readonly #descriptors = new Descriptors()
  readonly #pending = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  constructor(pool: NativeCopyPool) {
    this.#native = pool
  }

  async copy(batch: readonly CopyOp[]): Promise<void> {
    const { handles, words } = this.#descriptors.ofCopies(batch)
    await this.#post(() => this.#native.copy(handles, words, batch.length))
  }

  async checksum(slices: readonly Slice[]): Promise<Uint32Array> {
    const { handles, words } = this.#descriptors.ofSlices(slices)
    return this.#post(() => this.#native.checksum(handles, words, slices.length))
  }

  checksumNow(slices: readonly Slice[]): Uint32Array {
    const { handles, words } = this.#descriptors.ofSlices(slices)
    return this.#now(() => this.#native.checksumNow(handles, words, slices.length))
  }

  gather(slices: readonly Slice[], into: Uint8Array): void {
    const { handles, words } = this.#descriptors.ofSlices(slices)
    this.#now(() => {
      this.#native.gather(handles, words, slices.length, into)
    })
  }

  scatter(from: Uint8Array, slices: readonly Slice[]): void {
    const { handles, words } = this.#descriptors.ofSlices(slices)
    this.#now(() => {
      this.#native.scatter(handles, words, slices.length, from)
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #now<T>(run: () => T): T {
    if (this.#closing !== undefined) throw new MooncakeError('ERR_SHUTTING_DOWN', 'The copy pool was closed')
    try {
      return run()
    } catch (error) {
      throw asMooncakeError(error)
    }
  }

  #post<T>(post: () => T | Promise<T>): T | Promise<T> {
    const answer = this.#now(post)
    if (answer instanceof Promise) {
      const pending = answer
      this.#pending.add(pending)
      void pending.then(() => this.#pending.delete(pending))
    }
    return answer
  }

  async #drain(): Promise<void> {
    await Promise.all(this.#pending)
    this.#native.stop()
  }
}

/**
 * Packs operations into numbers, in an array that is used again: the addon has read it when the call returns.
 */
class Descriptors {
  #words = new Float64Array(1024)

  /** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED */
  ofCopies(batch: readonly CopyOp[]): PackedOps {
    const table = new HandleTable()
    const words = this.#reserve(batch.length * 5)
    let next = 0
    for (const { from, to } of batch) {
      assertSlice(from)
      assertSlice(to)
      if (from.byteLength !== to.byteLength) {
        throw new MooncakeError(
          'ERR_SLICE_OUT_OF_BOUNDS',
          `A copy of ${from.byteLength} bytes has a target of ${to.byteLength} bytes`,
        )
      }
      words[next++] = table.indexOf(from.region)
      words[next++] = from.offset
      words[next++] = table.indexOf(to.region)
      words[next++] = to.offset
      words[next++] = from.byteLength
    }
    return { handles: table.handles, words }
  }

  /** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED */
  ofSlices(slices: readonly Slice[]): PackedOps {
    const table = new HandleTable()
    const words = this.#reserve(slices.length * 3)
    let next = 0
    for (const slice of slices) {
      assertSlice(slice)
      words[next++] = table.indexOf(slice.region)
      words[next++] = slice.offset
      words[next++] = slice.byteLength
    }
    return { handles: table.handles, words }
  }

  #reserve(wordCount: number): Float64Array {
    if (this.#words.length < wordCount) this.#words = new Float64Array(2 * wordCount)
    return this.#words
  }
}

interface PackedOps {
  readonly handles: readonly unknown[]
  readonly words: Float64Array
}

/** Each Region's handle once, however many operations name it. */
class HandleTable {
  readonly handles: unknown[] = []
  readonly #indices = new Map<Region, number>()

  indexOf(region: Region): number {
    let index = this.#indices.get(region)
    if (index === undefined) {
      index = this.handles.push(region.handle) - 1
      this.#indices.set(region, index)
    }
    return index
  }
}
