import { MooncakeError, type CompletionStream, type MemoryProvider, type Slice } from '@mooncake-ts/core'
import type { Holding } from './holding.js'
import type { ObjectMeta } from './object-table.js'
import type { StagingPool } from './staging-pool.js'

/**
 * Moves the bytes of one object into and out of any tier: by the copy pool where the tier has addresses, by
 * its own operations elsewhere.
 */
export class TierIo {
  readonly #memory: MemoryProvider
  readonly #staging: StagingPool

  constructor(memory: MemoryProvider, staging: StagingPool) {
    this.#memory = memory
    this.#staging = staging
  }

  /** Settles when `from` is not needed any more. @throws ERR_IO and the tier's own errors */
  async write(holding: Holding, from: Slice, signal: AbortSignal): Promise<void> {
    const { tier, allocation } = holding
    if (from.byteLength !== allocation.byteLength) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `from: ${from.byteLength} B do not fill ${allocation.byteLength} B`,
      )
    }
    signal.throwIfAborted()
    if (allocation.byteLength === 0) return
    if (allocation.slice != null) return await this.#memory.copyPool.copy([{ from, to: allocation.slice }])
    await ended(tier.write([{ allocation, from }], { signal }), from.byteLength)
  }

  /**
   * Settles when `into` is not touched any more.
   * @throws ERR_CHECKSUM_MISMATCH, ERR_IO and the tier's own errors
   */
  async read(
    holding: Holding,
    meta: ObjectMeta,
    offset: number,
    into: Slice,
    signal: AbortSignal,
  ): Promise<void> {
    const { tier, allocation } = holding
    if (offset < 0 || offset + into.byteLength > meta.byteLength) {
      const range = `${offset}+${into.byteLength}`
      throw new MooncakeError(
        'ERR_SLICE_OUT_OF_BOUNDS',
        `${range} lies outside of an object of ${meta.byteLength} B`,
      )
    }
    signal.throwIfAborted()
    if (into.byteLength === 0) return
    if (allocation.slice != null) {
      const from = {
        ...allocation.slice,
        offset: allocation.slice.offset + offset,
        byteLength: into.byteLength,
      }
      return await this.#memory.copyPool.copy([{ from, to: into }])
    }
    if (into.byteLength === meta.byteLength) return await this.#readWhole(holding, meta, into, signal)
    if (!tier.supports.partialRead) return await this.#readStaged(holding, meta, offset, into, signal)
    await ended(tier.read([{ allocation, offset, into }], { signal }), into.byteLength)
  }

  /**
   * Copies a whole object from one tier to another. Settles when neither place is touched any more.
   * @throws as `read` and `write`
   */
  async copy(from: Holding, meta: ObjectMeta, to: Holding, signal: AbortSignal): Promise<void> {
    if (to.slice != null) return await this.read(from, meta, 0, to.slice, signal)
    if (from.slice != null) return await this.write(to, from.slice, signal)
    using staged = await this.#staging.acquire(meta.byteLength, signal)
    await this.read(from, meta, 0, staged.slice, signal)
    await this.write(to, staged.slice, signal)
  }

  /**
   * What lay on a device is checked before anybody sees it. A part of an object cannot be: the checksum is of
   * the whole.
   */
  async #readWhole(
    { tier, allocation }: Holding,
    meta: ObjectMeta,
    into: Slice,
    signal: AbortSignal,
  ): Promise<void> {
    await ended(tier.read([{ allocation, offset: 0, into }], { signal }), into.byteLength)
    if (meta.checksum == null || !tier.supports.persistence) return
    const [checksum] = await this.#memory.copyPool.checksum([into])
    if (checksum !== meta.checksum) {
      throw new MooncakeError(
        'ERR_CHECKSUM_MISMATCH',
        `${meta.key}: ${tier.name} gave bytes that were not put there`,
      )
    }
  }

  async #readStaged(
    holding: Holding,
    meta: ObjectMeta,
    offset: number,
    into: Slice,
    signal: AbortSignal,
  ): Promise<void> {
    using staged = await this.#staging.acquire(meta.byteLength, signal)
    await this.#readWhole(holding, meta, staged.slice, signal)
    const { region, offset: start } = staged.slice
    await this.#memory.copyPool.copy([
      { from: { region, offset: start + offset, byteLength: into.byteLength }, to: into },
    ])
  }
}

/** Settles when a batch of one has ended, at rest. */
function ended(stream: CompletionStream, byteLength: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    let failure: Error | undefined
    stream.subscribe({
      next: completion => {
        bytes += completion.bytes
        failure ??= completion.error
      },
      error: reject,
      complete: () => {
        if (failure == null && bytes !== byteLength) {
          failure = new MooncakeError('ERR_IO', `The tier moved ${bytes} of ${byteLength} B`)
        }
        if (failure == null) resolve()
        else reject(failure)
      },
    })
  })
}
