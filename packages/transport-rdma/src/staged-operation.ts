import {
  asMooncakeError,
  Parts,
  type Batch,
  type BatchOperation,
  type CopyPool,
  type TransferOp,
} from '@mooncake-ts/core'
import type { PieceOwner } from './piece.js'
import type { StagedSlice, Staging } from './staging.js'

export interface StagedOperationDeps {
  readonly staging: Staging
  readonly copyPool: CopyPool
  /** Posts what the device is to move between the window and the staged slice; its pieces belong to the operation. */
  readonly post: (operation: StagedOperation, staged: StagedSlice) => void
  /** Nobody will take it back any more: it has its slice, or needs none. */
  readonly onAdmitted: (operation: StagedOperation) => void
}

/**
 * An operation on a caller's own buffer, whose bytes pass through registered memory: a write is copied there before it
 * is posted, a read from there before it is reported. The caller's bytes are at rest when it ends (I3).
 */
export class StagedOperation extends Parts implements PieceOwner {
  readonly #whole: BatchOperation
  readonly #deps: StagedOperationDeps
  readonly #waiting: Disposable
  #staged: StagedSlice | undefined

  constructor(whole: BatchOperation, deps: StagedOperationDeps) {
    super()
    this.#whole = whole
    this.#deps = deps
    this.#waiting = deps.staging.acquire(whole.op.local.byteLength, staged => {
      void this.#begin(staged)
    })
  }

  get batch(): Batch {
    return this.#whole.batch
  }

  get op(): TransferOp {
    return this.#whole.op
  }

  /** It has its place in the staging memory. */
  get admitted(): boolean {
    return this.#staged != null
  }

  /** Where it waits for room it no longer does, and ends without a completion. What is admitted ends by itself. */
  cancel(): void {
    if (this.admitted) return
    this.#waiting[Symbol.dispose]()
    this.#whole.takeBack()
  }

  async #begin(staged: StagedSlice): Promise<void> {
    this.#staged = staged
    this.#deps.onAdmitted(this)
    try {
      const { kind, local } = this.op
      if (kind === 'write') await this.#deps.copyPool.copy([{ from: local, to: staged.slice }])
      if (this.batch.signal.aborted) this.takeBack()
      else this.#deps.post(this, staged)
    } catch (error) {
      this.settle(asMooncakeError(error))
    }
  }

  protected override ended(error: Error | undefined, takenBack: boolean): void {
    void this.#end(this.#staged!, error, takenBack)
  }

  async #end(staged: StagedSlice, error: Error | undefined, takenBack: boolean): Promise<void> {
    const { kind, local } = this.op
    let failure = error
    try {
      if (kind === 'read' && error == null && !takenBack) {
        await this.#deps.copyPool.copy([{ from: staged.slice, to: local }])
      }
    } catch (cause) {
      failure = asMooncakeError(cause)
    }
    staged[Symbol.dispose]()
    if (takenBack) this.#whole.takeBack()
    else this.#whole.settle(failure)
  }
}
