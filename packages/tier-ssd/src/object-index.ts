import {
  MooncakeError,
  type Clock,
  type Logger,
  type ObjectIdentity,
  type OffsetAllocator,
} from '@mooncake-ts/core'
import type { IoEngine } from '@mooncake-ts/io-uring'
import type { DataFiles } from './data-files.js'
import { IndexLog } from './index-log.js'
import { encodeAdd, encodeRemove, KEY_BYTES_MAX } from './index-record.js'
import { RowState, type ObjectRows } from './object-rows.js'
import { Recovery, type Recovered } from './recovery.js'
import { Replay } from './replay.js'

export interface ObjectIndexInit {
  readonly directory: string
  readonly seed: number
  readonly engine: IoEngine
  readonly clock: Clock
  readonly logger: Logger
  readonly rows: ObjectRows
  readonly allocator: OffsetAllocator
  readonly files: DataFiles
  /** `commit` waits until data and record are durable, rather than written. */
  readonly syncCommits: boolean
  readonly slackBytes: number
}

/** A removal that could not be written is tried again after this time: its space cannot be used before. */
const RETRY_MS = 1000

/** Which objects are committed, on the disk and in the rows. */
export class ObjectIndex {
  readonly #init: ObjectIndexInit
  readonly #running = new Set<Promise<void>>()
  #log!: IndexLog
  #lastSerial = 0
  /** Aborted when the tier stops. */
  readonly #stopping = new AbortController()
  /** Objects of an earlier life. */
  recoverable = 0

  private constructor(init: ObjectIndexInit) {
    this.#init = init
  }

  /** Reads the index, and fills rows and allocator with what it has. @throws ERR_IO, ERR_NO_SPACE */
  static async open(init: ObjectIndexInit): Promise<ObjectIndex> {
    const { rows, allocator, logger } = init
    const index = new ObjectIndex(init)
    const replay = new Replay(rows, allocator)
    index.#log = await IndexLog.open(
      {
        ...init,
        isLive: ({ row, serial }) =>
          (rows.states[row] === RowState.logged || rows.states[row] === RowState.found) &&
          rows.serials[row] === serial,
      },
      replay.onRecord,
      () => {
        replay.finish()
        return { liveBytes: replay.liveBytes, isStale: replay.dropped > 0 }
      },
    )
    index.#lastSerial = replay.lastSerial
    index.recoverable = replay.objects
    if (replay.dropped > 0)
      logger.warn('Objects without a place of their own were dropped', { objects: replay.dropped })
    return index
  }

  /** @throws ERR_IO, ERR_NO_SPACE; the object may then come back after a restart, unless it is removed */
  async commit(row: number, identity: ObjectIdentity): Promise<void> {
    this.#assertOpen()
    assertIdentity(identity)
    if (this.#init.rows.states[row] !== RowState.held)
      throw new MooncakeError('ERR_INVALID_PARAMS', 'It was committed before')
    await this.#track(this.#add(row, identity))
  }

  /**
   * Settles when the object cannot come back: only then may its place hold other bytes, because a record that
   * outlives them would speak of those.
   */
  remove(row: number): Promise<void> {
    return this.#track(this.#remove(row))
  }

  /** What was found, once: it is the engine's from then on. */
  recover(): AsyncIterable<Recovered> {
    return new Recovery(this.#init.rows, this.#log.records())
  }

  /** Writes what is pending. */
  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled(this.#running)
    await this.#log.close()
  }

  async #add(row: number, identity: ObjectIdentity): Promise<void> {
    const { rows, files, syncCommits } = this.#init
    const serial = ++this.#lastSerial
    rows.states[row] = RowState.logged
    rows.serials[row] = serial
    const offset = rows.offsets[row]!
    // The data first: whoever finds the record finds what it promises.
    if (syncCommits) await files.sync(offset, identity.byteLength)
    await this.#log.append(encodeAdd({ row, serial, offset, checksum: rows.checksums[row]!, identity }))
    if (syncCommits) await this.#log.sync()
  }

  async #remove(row: number): Promise<void> {
    const { rows, clock, logger } = this.#init
    rows.states[row] = RowState.freeing
    for (let tries = 1; ; tries++) {
      try {
        await this.#log.append(encodeRemove(row, rows.serials[row]!))
        await this.#log.sync()
        return
      } catch (error) {
        if (this.#stopping.signal.aborted) return
        if (tries === 1) logger.warn('A removal cannot be written; its space waits for it', { error })
        await clock.sleep(RETRY_MS, this.#stopping.signal).catch(() => {})
      }
    }
  }

  #track(running: Promise<void>): Promise<void> {
    this.#running.add(running)
    return running.finally(() => this.#running.delete(running))
  }

  #assertOpen(): void {
    if (this.#stopping.signal.aborted) throw new MooncakeError('ERR_SHUTTING_DOWN', 'The tier is stopping')
  }
}

function assertIdentity({ key, generation }: ObjectIdentity): void {
  const keyBytes = Buffer.byteLength(key)
  if (keyBytes === 0 || keyBytes > KEY_BYTES_MAX)
    throw new MooncakeError('ERR_INVALID_KEY', `A key of ${keyBytes} bytes cannot be kept`)
  if (Number.isSafeInteger(generation)) return
  throw new MooncakeError('ERR_INVALID_PARAMS', `generation: ${generation} is not a safe integer`)
}
