import { setMaxListeners } from 'node:events'
import { Observable } from 'rxjs'
import {
  asMooncakeError,
  assertSlice,
  hasCode,
  MooncakeError,
  type CompletionStream,
  type Counter,
  type Logger,
  type Slice,
  type TierAllocation,
} from '@mooncake-ts/core'
import { Batch, type BatchWork } from './batch.js'
import type { Checksums } from './checksums.js'
import type { DeviceQueue, Direction } from './device-queue.js'
import { groupsOf, type GroupLayout } from './groups.js'
import { Job } from './job.js'
import type { ObjectRows } from './object-rows.js'

export interface ObjectIoInit {
  readonly name: string
  readonly rows: ObjectRows
  readonly queue: DeviceQueue
  readonly layout: GroupLayout
  /** Whether the device may reach into a slice. @throws for memory that it cannot know */
  readonly isDirect: (slice: Slice) => boolean
  readonly checksums: Checksums
  readonly logger: Logger
  readonly badObjects: Counter
}

export interface Move {
  readonly allocation: TierAllocation
  readonly offset: number
  readonly slice: Slice
}

/** Moves whole objects, and looks at the checksum of each. */
export class ObjectIo {
  readonly #init: ObjectIoInit
  readonly #running = new Set<Batch>()
  #stopping = false
  #onIdle: (() => void) | undefined

  constructor(init: ObjectIoInit) {
    this.#init = init
  }

  run(direction: Direction, moves: readonly Move[], signal: AbortSignal): CompletionStream {
    return new Observable(subscriber => {
      const work = direction === 'read' ? this.#reading : this.#writing
      const forget = (ended: Batch): void => {
        signal.removeEventListener('abort', skip)
        this.#running.delete(ended)
        if (this.#running.size === 0) this.#onIdle?.()
      }
      const batch = new Batch(subscriber, signal, moves.length, work, forget)
      const skip = (): void => {
        this.#init.queue.skip(batch)
      }
      if (signal.aborted) {
        subscriber.error(signal.reason)
        return
      }
      this.#running.add(batch)
      if (moves.length === 0) batch.finish()
      else if (!this.#post(direction, batch, moves)) {
        setMaxListeners(0, signal) // Many batches may share it.
        signal.addEventListener('abort', skip)
      }
    })
  }

  /** Ends what runs; what has not been posted fails. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#init.queue.failWaiting(stopping(this.#init.name))
    if (this.#running.size > 0) await new Promise<void>(resolve => (this.#onIdle = resolve))
  }

  /** True where nothing of the batch waits. */
  #post(direction: Direction, batch: Batch, moves: readonly Move[]): boolean {
    const jobs: Job[] = []
    const refused: Array<readonly [index: number, error: unknown]> = []
    moves.forEach((move, index) => {
      try {
        jobs.push(this.#jobOf(direction, batch, index, move))
      } catch (error) {
        refused.push([index, error])
      }
    })
    for (const [index, error] of refused) batch.refuse(index, asMooncakeError(error))
    const empty = jobs.filter(({ byteLength }) => byteLength === 0)
    const groups = groupsOf(jobs, this.#init.layout)
    for (const job of empty) {
      this.#init.rows.written[job.row] = 1
      batch.end(job)
    }
    return this.#init.queue.post(direction, groups)
  }

  #jobOf(direction: Direction, batch: Batch, index: number, { allocation, offset, slice }: Move): Job {
    const { name, rows } = this.#init
    if (this.#stopping) throw stopping(name)
    assertSlice(slice)
    const row = rows.rowOf(allocation)
    if (offset !== 0 || slice.byteLength !== allocation.byteLength) {
      const range = `${slice.byteLength} bytes from ${offset}`
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `${name}: ${range} are not the whole object of ${allocation.byteLength}`,
      )
    }
    if (direction === 'read' && rows.written[row] === 0 && allocation.byteLength > 0)
      throw new MooncakeError('ERR_INVALID_PARAMS', `${name}: the object has not been written`)
    const isDirect = this.#init.isDirect(slice)
    return new Job(batch, index, { row, slice, offset: rows.offsets[row]!, isDirect })
  }

  readonly #reading: BatchWork = {
    posting: () => {},
    moved: job => {
      if (job.error != null) {
        this.#endRead(job, job.error)
        return
      }
      this.#init.checksums.of(job.slice, (checksum, error) => {
        const isRight = checksum === this.#init.rows.checksums[job.row]
        this.#endRead(job, error ?? (isRight ? undefined : this.#badObject(job)))
      })
    },
  }

  readonly #writing: BatchWork = {
    posting: job => {
      const { rows, checksums } = this.#init
      rows.written[job.row] = 0
      job.openParts++
      checksums.of(job.slice, (checksum, error) => {
        if (error == null) rows.checksums[job.row] = checksum!
        job.endPart(error)
      })
    },
    moved: job => {
      if (job.error == null) this.#init.rows.written[job.row] = 1
      job.batch.end(job)
    },
  }

  #endRead(job: Job, error: Error | undefined): void {
    job.error = error
    if (hasCode(error, 'ERR_CHECKSUM_MISMATCH')) {
      const { name, badObjects, logger } = this.#init
      badObjects.add(1, { tier: name })
      logger.warn('An object is not what was written', { tier: name, reason: error?.message })
    }
    job.batch.end(job)
  }

  #badObject({ offset, byteLength }: Job): MooncakeError {
    const place = `the ${byteLength} bytes at ${offset}`
    return new MooncakeError(
      'ERR_CHECKSUM_MISMATCH',
      `${this.#init.name}: ${place} are not those that were written`,
    )
  }
}

const stopping = (name: string): MooncakeError =>
  new MooncakeError('ERR_SHUTTING_DOWN', `${name} is stopping`)
