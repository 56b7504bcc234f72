import { open, rm, type FileHandle } from 'node:fs/promises'
import type { Logger } from '@mooncake-ts/core'
import type { IoEngine } from '@mooncake-ts/io-uring'
import { FrameWriter } from './frame-writer.js'
import { GroupSync } from './group-sync.js'
import { findIndexFiles, indexFile, install, syncDirectory, type IndexFile } from './index-files.js'
import { IndexFileReport, readFrames } from './index-reader.js'
import { RecordCursor } from './index-record.js'
import { fromSystem } from './io.js'

export interface IndexLogInit {
  readonly directory: string
  readonly engine: IoEngine
  readonly logger: Logger
  /** Compaction begins when the index is twice as long as what counts in it, and so much more. */
  readonly slackBytes: number
  /** Of the checksums of frames. */
  readonly seed: number
  /** Whether the record under the cursor is an `add` that still counts. */
  readonly isLive: (record: RecordCursor) => boolean
}

export interface WhatWasRead {
  /** Of the records that count. */
  readonly liveBytes: number
  /** There are records that count no more, and that nothing says so of: they must not be read again. */
  readonly isStale: boolean
}

interface Pending {
  readonly record: Buffer
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * The durable index: an append-only log, written in groups, and from time to time a snapshot that takes its
 * place. One write is in flight at a time; records that come meanwhile go together with the next.
 */
export class IndexLog {
  readonly #init: IndexLogInit
  readonly #writer: FrameWriter
  readonly #pending: Pending[] = []
  /** What counts, in order; the last one is written to. */
  #files: IndexFile[] = []
  #handle: FileHandle | undefined
  #sync: GroupSync | undefined
  #endBytes = 0
  /** Of all files. */
  #wholeBytes = 0
  #compactAboveBytes = Infinity
  /** Whoever writes to the last file, or takes the next one. */
  #writing: Promise<void> | undefined
  #compacting: Promise<void> | undefined
  #readers = 0
  #closing = false

  private constructor(init: IndexLogInit) {
    this.#init = init
    this.#writer = new FrameWriter(init.engine, init.seed)
  }

  /**
   * Reads what there is, and goes on writing behind it.
   * @param onRecord an `add` or a `remove`, in the order in which they were written
   * @param onEnd all was read
   */
  static async open(
    init: IndexLogInit,
    onRecord: (record: RecordCursor) => void,
    onEnd: () => WhatWasRead,
  ): Promise<IndexLog> {
    const log = new IndexLog(init)
    try {
      await log.#load(onRecord, onEnd)
      return log
    } catch (error) {
      await log.close()
      throw error
    }
  }

  /**
   * Settles when the record is written: it survives the process, but not the machine.
   * @throws ERR_IO, ERR_NO_SPACE
   */
  append(record: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ record, resolve, reject })
      this.#writing ??= this.#flush()
    })
  }

  /** Settles when every record that is written by now is durable. @throws ERR_IO, ERR_NO_SPACE */
  sync(): Promise<void> {
    return this.#sync!.request()
  }

  /** All records that were written before, chunk by chunk. No compaction begins meanwhile. */
  async *records(): AsyncGenerator<readonly Buffer[]> {
    this.#readers++
    try {
      await this.#compacting
      for (const { path } of [...this.#files]) yield* readFrames(this.#init.engine, path, this.#init.seed)
    } finally {
      this.#readers--
    }
  }

  /** Writes what is pending, ends a compaction, and closes the file. The engine must still be open. */
  async close(): Promise<void> {
    this.#closing = true
    await this.#compacting
    while (this.#writing != null) await this.#writing
    await this.#sync?.idle()
    await this.#handle?.close()
    this.#handle = undefined
    this.#writer.close()
  }

  async #load(onRecord: (record: RecordCursor) => void, onEnd: () => WhatWasRead): Promise<void> {
    const { directory, engine, logger, seed } = this.#init
    this.#files = await findIndexFiles(directory)
    let damaged = false
    let last = new IndexFileReport()
    for (const { path } of this.#files) {
      last = new IndexFileReport()
      for await (const payloads of readFrames(engine, path, seed, last)) forEachRecord(payloads, onRecord)
      if (last.isDamaged) logger.warn('A part of the index is damaged; its objects are lost', { path })
      if (last.endBytes < last.fileBytes)
        logger.info('Dropped the end of an index, which was never written whole', {
          path,
          bytes: last.fileBytes - last.endBytes,
        })
      damaged ||= last.isDamaged
      this.#wholeBytes += last.endBytes
    }
    const newest = this.#files.at(-1)
    if (newest == null || newest.isSnapshot) await this.#openNew((newest?.number ?? 0) + 1)
    else await this.#openAt(newest, last.endBytes)
    const { liveBytes, isStale } = onEnd()
    this.#compactAboveBytes = damaged || isStale ? 0 : this.#limitFor(liveBytes)
    this.#compactWhenDue()
  }

  async #openAt({ path }: IndexFile, endBytes: number): Promise<void> {
    const handle = await fromSystem(`${path}: open`, open(path, 'r+'))
    this.#use(handle, path, endBytes)
    await fromSystem(`${path}: truncate`, handle.truncate(endBytes))
  }

  async #openNew(number: number): Promise<void> {
    const { directory } = this.#init
    const file = indexFile(directory, number)
    const handle = await fromSystem(`${file.path}: open`, open(file.path, 'w'))
    try {
      await syncDirectory(directory)
    } catch (error) {
      await handle.close()
      throw error
    }
    this.#files.push(file)
    this.#use(handle, file.path, 0)
  }

  #use(handle: FileHandle, path: string, endBytes: number): void {
    this.#handle = handle
    this.#sync = new GroupSync(this.#init.engine.inline, handle.fd, path)
    this.#endBytes = endBytes
  }

  async #flush(): Promise<void> {
    await Promise.resolve() // What comes in this turn of the microtasks is one write.
    while (this.#pending.length > 0) await this.#flushOnce()
    this.#writing = undefined
    this.#compactWhenDue()
  }

  async #flushOnce(): Promise<void> {
    let count = 0
    while (count < this.#pending.length && this.#writer.add(this.#pending[count]!.record)) count++
    const group = this.#pending.splice(0, count)
    try {
      // A write that failed is written over by the next one: it has the same place.
      const bytes = await this.#writer.write(this.#handle!.fd, this.#endBytes)
      this.#endBytes += bytes
      this.#wholeBytes += bytes
      for (const { resolve } of group) resolve()
    } catch (error) {
      for (const { reject } of group) reject(error)
    }
  }

  #compactWhenDue(): void {
    const isDue = this.#wholeBytes > this.#compactAboveBytes
    if (!isDue || this.#closing || this.#readers > 0 || this.#compacting != null) return
    this.#compacting = this.#compact()
      .catch((error: unknown) => {
        this.#compactAboveBytes = this.#limitFor(this.#wholeBytes)
        this.#init.logger.warn('The index could not be compacted; later again', { error })
      })
      .then(() => {
        this.#compacting = undefined
      })
  }

  /**
   * New records go to a new file. Meanwhile those of the files before it that still count are copied into a
   * snapshot, which takes the place of these files in one step.
   */
  async #compact(): Promise<void> {
    const { directory } = this.#init
    const sealed = [...this.#files]
    const snapshot = indexFile(directory, sealed.at(-1)!.number + 1, true)
    await this.#beginFile(snapshot.number + 1)
    const unfinished = `${snapshot.path.slice(0, -'snapshot'.length)}tmp`
    const bytes = await this.#writeSnapshot(sealed, unfinished).catch(async (error: unknown) => {
      await rm(unfinished, { force: true }) // It would keep the space that is missing.
      throw error
    })
    await install(directory, unfinished, snapshot.path)
    this.#files = [snapshot, ...this.#files.slice(sealed.length)]
    this.#wholeBytes = bytes + this.#endBytes
    this.#compactAboveBytes = this.#limitFor(bytes)
    for (const { path } of sealed) await fromSystem(`${path}: remove`, rm(path))
  }

  /** What was written before is durable then, whoever asks for it. */
  async #beginFile(number: number): Promise<void> {
    while (this.#writing != null) await this.#writing
    const [handle, sync] = [this.#handle!, this.#sync!]
    const switching = sync.request().then(() => this.#openNew(number))
    const goOn = (): void => {
      this.#writing = this.#pending.length > 0 ? this.#flush() : undefined
    }
    this.#writing = switching.then(goOn, goOn)
    await switching
    await sync.idle()
    await handle.close()
  }

  async #writeSnapshot(sealed: readonly IndexFile[], path: string): Promise<number> {
    const { engine, seed, isLive } = this.#init
    const handle = await fromSystem(`${path}: open`, open(path, 'w'))
    const writer = new FrameWriter(engine, seed)
    let bytes = 0
    try {
      for (const file of sealed) {
        for await (const payloads of readFrames(engine, file.path, seed)) {
          for (const payload of payloads) {
            const record = new RecordCursor(payload)
            while (record.next()) {
              if (!record.isAdd || !isLive(record) || writer.add(record.bytes)) continue
              bytes += await writer.write(handle.fd, bytes)
              writer.add(record.bytes)
            }
          }
        }
      }
      bytes += await writer.write(handle.fd, bytes)
      await fromSystem(`${path}: fsync`, handle.sync())
      return bytes
    } finally {
      writer.close()
      await handle.close()
    }
  }

  #limitFor(liveBytes: number): number {
    return 2 * liveBytes + this.#init.slackBytes
  }
}

function forEachRecord(payloads: readonly Buffer[], onRecord: (record: RecordCursor) => void): void {
  for (const payload of payloads) {
    const record = new RecordCursor(payload)
    while (record.next()) onRecord(record)
  }
}
