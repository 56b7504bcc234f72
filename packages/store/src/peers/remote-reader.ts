import { errorCode, type Slice } from '@mooncake-ts/core'
import type { Lease, TieredBackend } from '../local/tiered-backend.js'
import type { StagingPool } from '../local/staging-pool.js'
import { subSlice } from '../transfer/slices.js'
import type { SubmitOp, TransferSubmitter } from '../transfer/submitter.js'
import type { ReadRequest, ReadResultItem, WireRegion } from './protocol.js'

interface Source {
  readonly index: number
  readonly lease: Lease
  readonly slice: Slice
  readonly done: () => void
}

/** Serves ReadRemoteData: this node holds the objects and WRITEs them into the caller's memory. */
export class RemoteReader {
  readonly #backend: TieredBackend
  readonly #submitter: TransferSubmitter
  readonly #staging: StagingPool

  constructor(backend: TieredBackend, submitter: TransferSubmitter, staging: StagingPool) {
    this.#backend = backend
    this.#submitter = submitter
    this.#staging = staging
  }

  async serve({ regions, items }: ReadRequest, signal: AbortSignal): Promise<ReadResultItem[]> {
    const results = new Array<ReadResultItem>(items.length)
    const ready: Source[] = []
    const slow: Promise<void>[] = []
    items.forEach(({ key, parts }, index) => {
      const lease = this.#backend.acquire(key)
      if (lease == null) {
        results[index] = { code: 'ERR_OBJECT_NOT_FOUND', byteLength: 0, generation: 0 }
        return
      }
      const { byteLength, generation, checksum } = lease.meta
      results[index] = { byteLength, generation, ...(checksum == null ? {} : { checksum }) }
      if (capacityOf(parts) < byteLength) {
        results[index].code = 'ERR_BUFFER_OVERFLOW'
        lease.release()
      } else if (lease.slice != null) {
        ready.push({
          index,
          lease,
          slice: lease.slice,
          done: () => {
            lease.release()
          },
        })
      } else {
        slow.push(
          this.#stage(index, lease, signal).then(
            source => this.#push([source], regions, items, results, signal),
            (error: unknown) => {
              lease.release()
              results[index]!.code = errorCode(error)
            },
          ),
        )
      }
    })
    await Promise.all([this.#push(ready, regions, items, results, signal), ...slow])
    return results
  }

  /** Brings an object of a tier without addresses into memory. */
  async #stage(index: number, lease: Lease, signal: AbortSignal): Promise<Source> {
    const staged = await this.#staging.acquire(lease.meta.byteLength, signal)
    const done = (): void => {
      staged.release()
      lease.release()
    }
    try {
      await this.#backend.readInto(lease, 0, staged.slice, signal)
      return { index, lease, slice: staged.slice, done }
    } catch (error) {
      staged.release()
      throw error
    }
  }

  async #push(
    sources: readonly Source[],
    regions: readonly WireRegion[],
    items: ReadRequest['items'],
    results: ReadResultItem[],
    signal: AbortSignal,
  ): Promise<void> {
    const ops: SubmitOp[] = []
    const owners: Source[] = []
    const left = new Map<Source, number>()
    for (const source of sources) {
      const before = ops.length
      addOps(ops, 'write', source.slice, items[source.index]!.parts, regions)
      left.set(source, ops.length - before)
      for (let i = before; i < ops.length; i++) owners.push(source)
      if (ops.length === before) source.done()
    }
    await this.#submitter.submit(ops, signal, (index, error) => {
      const source = owners[index]!
      if (error != null) results[source.index]!.code = errorCode(error)
      const remaining = left.get(source)! - 1
      left.set(source, remaining)
      if (remaining === 0) source.done()
    })
  }
}

export function capacityOf(parts: readonly number[]): number {
  let bytes = 0
  for (let i = 2; i < parts.length; i += 3) bytes += parts[i]!
  return bytes
}

/**
 * Operations between consecutive bytes of `local` and the parts that a peer announced. Empty ones are left
 * out.
 */
export function addOps(
  ops: SubmitOp[],
  kind: SubmitOp['kind'],
  local: Slice,
  parts: readonly number[],
  regions: readonly WireRegion[],
): void {
  let at = 0
  for (let i = 0; i + 2 < parts.length && at < local.byteLength; i += 3) {
    const byteLength = Math.min(parts[i + 2]!, local.byteLength - at)
    if (byteLength === 0) continue
    // A region that the peer did not announce has no windows: the operation fails for want of a transport.
    const region = regions[parts[i]!] ?? { windows: [] }
    ops.push({ kind, local: subSlice(local, at, byteLength), region, offset: parts[i + 1]! })
    at += byteLength
  }
}
