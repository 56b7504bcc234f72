import {
  asMooncakeError,
  type MooncakeError,
  type Allocated,
  type CopyOp,
  type CopyPool,
  type Slice,
} from '@mooncake-ts/core'
import type { IoEngine, Ring } from '@mooncake-ts/io-uring'
import type { Batch } from './batch.js'
import type { DataFiles } from './data-files.js'
import { Group, stagedObjectBytes, type Segment } from './groups.js'
import { ioError, readError } from './io.js'
import type { RegionSlots } from './region-slots.js'
import type { Staging } from './staging.js'

export type Direction = 'read' | 'write'

export interface DeviceQueueInit {
  readonly name: string
  readonly engine: IoEngine
  readonly files: DataFiles
  readonly slots: RegionSlots
  readonly staging: Staging
  readonly copyPool: CopyPool
  /** Operations in flight at the device. */
  readonly queueDepth: number
}

interface Queued {
  readonly direction: Direction
  readonly group: Group
}

/** From here on a thread of its own enters the kernel: preparing so many pages takes longer than the hop. */
const BULK_BYTES_MIN = 1024 * 1024

/**
 * Groups of all batches on their way to the device: first in, first out, so many at a time. Those that need
 * staging memory wait until there is some.
 */
export class DeviceQueue {
  readonly #init: DeviceQueueInit
  #queued: Queued[] = []
  #first = 0
  #inFlight = 0
  #pumping = false
  #bulkTurn = 0

  constructor(init: DeviceQueueInit) {
    this.#init = init
  }

  /** False where some of them have to wait. */
  post(direction: Direction, groups: readonly Group[]): boolean {
    for (const group of groups) this.#queued.push({ direction, group })
    this.#pump()
    return this.#queued.length === 0
  }

  /** Nothing of the batch is posted any more. */
  skip(batch: Batch): void {
    this.#takeOut(
      group => group.segments[0]!.job.batch === batch,
      segment => {
        segment.job.isSkipped = true
        segment.job.endPart()
      },
    )
  }

  /** Nothing that waits is posted any more. */
  failWaiting(error: MooncakeError): void {
    this.#takeOut(
      () => true,
      segment => {
        segment.job.endPart(error)
      },
    )
  }

  #takeOut(isMeant: (group: Group) => boolean, end: (segment: Segment) => void): void {
    const waiting = this.#queued.slice(this.#first)
    this.#first = 0
    this.#queued = waiting.filter(({ group }) => !isMeant(group))
    for (const { group } of waiting) if (isMeant(group)) group.segments.forEach(end)
  }

  #pump(): void {
    if (this.#pumping) return // Something ended at once: the loop below goes on.
    this.#pumping = true
    while (this.#first < this.#queued.length && this.#inFlight < this.#init.queueDepth) {
      const { direction, group } = this.#queued[this.#first]!
      let staged: Allocated | undefined
      if (group.stagedBytes > 0) {
        staged = this.#init.staging.tryAcquire(group.stagedBytes)
        if (staged == null) break
      }
      this.#first++
      this.#inFlight++
      for (const { job } of group.segments) job.batch.posting(job)
      this.#start(direction, group, staged)
    }
    this.#pumping = false
    // Not one by one, which would move all that wait each time.
    if (this.#first < this.#queued.length / 2) return
    this.#queued.splice(0, this.#first)
    this.#first = 0
  }

  #start(direction: Direction, group: Group, staged: Allocated | undefined): void {
    const end = (error?: unknown): void => {
      this.#end(direction, group, staged, error)
    }
    try {
      if (direction === 'read') this.#read(group, staged, end)
      else this.#write(group, staged, end)
    } catch (error) {
      end(error)
    }
  }

  #read(group: Group, staged: Allocated | undefined, end: (error?: unknown) => void): void {
    this.#move('read', group, staged, error => {
      if (error != null || staged == null) return end(error)
      const copies = this.#copies(group, staged).map(({ from, to }) => ({ from: to, to: from }))
      this.#init.copyPool.copy(copies).then(() => {
        end()
      }, end)
    })
  }

  #write(group: Group, staged: Allocated | undefined, end: (error?: unknown) => void): void {
    if (staged == null) return this.#move('write', group, staged, end)
    this.#init.copyPool
      .copy(this.#copies(group, staged))
      .then(() => {
        this.#move('write', group, staged, end)
      })
      .catch(end)
  }

  #move(
    direction: Direction,
    group: Group,
    staged: Allocated | undefined,
    done: (error?: Error) => void,
  ): void {
    const { name, files } = this.#init
    const { fd } = files.fileAt(group.offset)
    const vector = this.#vector(group, staged)
    const errorOf = direction === 'read' ? readError : ioError
    this.#ring(group.deviceBytes)[direction](fd, vector, group.offset % files.fileBytes, result => {
      done(
        result === group.deviceBytes
          ? undefined
          : errorOf(`${name}: ${direction}`, result, group.deviceBytes),
      )
    })
  }

  #vector({ segments }: Group, staged: Allocated | undefined): number[] {
    const vector: number[] = []
    let stagedOffset = staged?.offset ?? 0
    for (const { job, objectOffset, directBytes, stagedBytes } of segments) {
      const { region, offset } = job.slice
      if (directBytes > 0) vector.push(this.#init.slots.of(region).slot, offset + objectOffset, directBytes)
      if (stagedBytes > 0) vector.push(this.#init.staging.slot, stagedOffset, stagedBytes)
      stagedOffset += stagedBytes
    }
    return vector
  }

  /** From the objects into the staging memory. */
  #copies({ segments }: Group, staged: Allocated): CopyOp[] {
    const copies: CopyOp[] = []
    let stagedOffset = staged.offset
    for (const segment of segments) {
      const { job, objectOffset, directBytes, stagedBytes } = segment
      if (stagedBytes === 0) continue
      const byteLength = stagedObjectBytes(segment)
      const from: Slice = {
        region: job.slice.region,
        offset: job.slice.offset + objectOffset + directBytes,
        byteLength,
      }
      copies.push({ from, to: { region: this.#init.staging.region, offset: stagedOffset, byteLength } })
      stagedOffset += stagedBytes
    }
    return copies
  }

  #ring(bytes: number): Ring {
    const { inline, bulk } = this.#init.engine
    if (bytes < BULK_BYTES_MIN || bulk.length === 0) return inline
    this.#bulkTurn = (this.#bulkTurn + 1) % bulk.length
    return bulk[this.#bulkTurn]!
  }

  #end(direction: Direction, group: Group, staged: Allocated | undefined, cause: unknown): void {
    if (staged != null) this.#init.staging.release(staged)
    this.#inFlight--
    const { batch } = group.segments[0]!.job
    if (cause != null && direction === 'read' && group.segments.length > 1 && !batch.signal.aborted) {
      // One bad object must not make its neighbours bad: each by itself.
      for (const segment of group.segments) this.#queued.push({ direction, group: Group.of(segment) })
    } else {
      const error = cause == null ? undefined : asMooncakeError(cause, 'ERR_IO')
      for (const { job } of group.segments) job.endPart(error)
    }
    this.#pump()
  }
}
