import type { Slice } from '@mooncake-ts/core'
import type { Batch } from './batch.js'

/** One operation of a batch: an object, on its way between its place and a slice. */
export class Job {
  readonly batch: Batch
  /** Position in the batch. */
  readonly index: number
  readonly row: number
  readonly slice: Slice
  /** Of the object, in the range of the tier. */
  readonly offset: number
  /** The device may reach into the slice. */
  readonly isDirect: boolean
  /** Parts that have not ended, the one that looks at the checksum among them. */
  openParts = 0
  isPosted = false
  /** A part was not posted, because the batch was aborted. */
  isSkipped = false
  error: Error | undefined

  constructor(batch: Batch, index: number, init: Pick<Job, 'row' | 'slice' | 'offset' | 'isDirect'>) {
    this.batch = batch
    this.index = index
    this.row = init.row
    this.slice = init.slice
    this.offset = init.offset
    this.isDirect = init.isDirect
  }

  get byteLength(): number {
    return this.slice.byteLength
  }

  endPart(error?: Error): void {
    this.error ??= error
    if (--this.openParts === 0) this.batch.moved(this)
  }
}
