import { constants } from 'node:fs'
import { open, readdir, rm, stat, statfs, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes, MooncakeError, type Logger, type MemoryProvider } from '@mooncake-ts/core'
import { errnoName, type IoEngine } from '@mooncake-ts/io-uring'
import { GroupSync } from './group-sync.js'
import { syncDirectory } from './index-files.js'
import { BLOCK_BYTES, fromSystem, ioError, resultOf } from './io.js'

/** What the device wants of memory and lengths; 1 is anything. */
export interface Alignment {
  readonly memoryBytes: number
  readonly lengthBytes: number
}

const ANY: Alignment = { memoryBytes: 1, lengthBytes: 1 }
/** Devices differ; what a kernel refuses at one it takes at the next. */
const MEMORY_ALIGNMENTS = [64, 512, BLOCK_BYTES]

const DATA_NAME = /^data-(\d+)$/

/** One number, and it has two names. */
const UNSUPPORTED = new Set(['ENOTSUP', 'EOPNOTSUPP'])

export interface DataFilesInit {
  readonly directory: string
  readonly engine: IoEngine
  readonly memory: MemoryProvider
  readonly logger: Logger
  readonly capacityBytes: number
  readonly fileBytes: number
  readonly directIo: boolean
  readonly preallocate: boolean
}

export interface DataFile {
  readonly handle: FileHandle
  readonly fd: number
  readonly sync: GroupSync
}

/** The range of a tier as a row of files of one size, the last perhaps shorter. */
export class DataFiles {
  readonly fileBytes: number
  readonly alignment: Alignment
  readonly #files: readonly DataFile[]

  private constructor(files: readonly DataFile[], fileBytes: number, alignment: Alignment) {
    this.#files = files
    this.fileBytes = fileBytes
    this.alignment = alignment
  }

  /** @throws ERR_IO, ERR_NO_SPACE */
  static async open(init: DataFilesInit): Promise<DataFiles> {
    const { directory, capacityBytes, fileBytes } = init
    if (init.preallocate) await assertRoom(init)
    const alignment = init.directIo ? await probe(init) : ANY
    const count = Math.ceil(capacityBytes / fileBytes)
    const files: DataFile[] = []
    try {
      for (let number = 0; number < count; number++) {
        const file = await openFile(init, number, alignment !== ANY)
        files.push(file)
        await fit(init, file, number, Math.min(fileBytes, capacityBytes - number * fileBytes))
      }
      for (const name of await dataNames(directory)) {
        // The capacity was larger once.
        if (Number(DATA_NAME.exec(name)![1]) >= count)
          await fromSystem(`${name}: remove`, rm(join(directory, name)))
      }
      await syncDirectory(directory)
      return new DataFiles(files, fileBytes, alignment)
    } catch (error) {
      for (const { handle } of files) await handle.close()
      throw error
    }
  }

  fileAt(offset: number): DataFile {
    return this.#files[Math.floor(offset / this.fileBytes)]!
  }

  /** Makes a part of the range durable. @throws ERR_IO, ERR_NO_SPACE */
  async sync(offset: number, byteLength: number): Promise<void> {
    if (byteLength === 0) return
    const first = Math.floor(offset / this.fileBytes)
    const last = Math.floor((offset + byteLength - 1) / this.fileBytes)
    await Promise.all(this.#files.slice(first, last + 1).map(({ sync }) => sync.request()))
  }

  /** Nothing may be in flight. */
  async close(): Promise<void> {
    for (const { handle, sync } of this.#files) {
      await sync.idle()
      await handle.close()
    }
  }
}

async function openFile(
  { directory, engine }: DataFilesInit,
  number: number,
  direct: boolean,
): Promise<DataFile> {
  const name = `data-${String(number).padStart(6, '0')}`
  const flags = constants.O_RDWR | constants.O_CREAT | (direct ? constants.O_DIRECT : 0)
  const handle = await fromSystem(`${name}: open`, open(join(directory, name), flags, 0o600))
  return { handle, fd: handle.fd, sync: new GroupSync(engine.inline, handle.fd, name) }
}

/** Asks before it takes anything: a full disk is everybody's trouble. @throws ERR_NO_SPACE */
async function assertRoom({ directory, capacityBytes }: DataFilesInit): Promise<void> {
  const { bavail, bsize } = await fromSystem(`${directory}: statfs`, statfs(directory))
  let hasBytes = bavail * bsize
  for (const name of await dataNames(directory))
    hasBytes += (await fromSystem(`${name}: stat`, stat(join(directory, name)))).blocks * 512
  if (hasBytes >= capacityBytes) return
  const message = `${directory} has room for ${formatBytes(hasBytes)}, not for ${formatBytes(capacityBytes)}`
  throw new MooncakeError('ERR_NO_SPACE', message)
}

const dataNames = async (directory: string): Promise<string[]> =>
  (await fromSystem(`${directory}: read`, readdir(directory))).filter(name => DATA_NAME.test(name))

/**
 * Gives a file its length, and its space where the file system can, so that writes cannot meet a full disk.
 */
async function fit(
  init: DataFilesInit,
  { handle, fd }: DataFile,
  number: number,
  byteLength: number,
): Promise<void> {
  const { size } = await fromSystem('stat', handle.stat())
  if (size !== byteLength) await fromSystem('truncate', handle.truncate(byteLength))
  if (!init.preallocate) return
  const result = await resultOf(done => init.engine.inline.allocate(fd, 0, byteLength, done))
  if (result === 0) return
  if (UNSUPPORTED.has(errnoName(result))) {
    if (number === 0) init.logger.warn('The file system cannot set space aside: writes may meet a full disk')
    return
  }
  throw ioError(`${init.directory}: setting ${formatBytes(init.capacityBytes)} aside`, result, 0)
}

/** What direct I/O wants here, tried out on a file of its own; anything goes where it is refused. */
async function probe(init: DataFilesInit): Promise<Alignment> {
  const { directory, engine, memory, logger } = init
  const path = join(directory, 'probe')
  const refused = (reason: string): Alignment => {
    logger.warn('Direct I/O is refused here: reads and writes go through the page cache', {
      directory,
      reason,
    })
    return ANY
  }
  const region = memory.createRegion({ byteLength: 2 * BLOCK_BYTES, label: 'ssd-probe' })
  const slot = engine.attach(region)
  let handle: FileHandle | undefined
  try {
    handle = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_DIRECT, 0o600)
    const { fd } = handle
    const written = await resultOf(done => engine.inline.write(fd, [slot, 0, BLOCK_BYTES], 0, done))
    if (written !== BLOCK_BYTES) return refused(written < 0 ? errnoName(written) : 'short write')
    for (const memoryBytes of MEMORY_ALIGNMENTS) {
      const piece = [slot, memoryBytes, BLOCK_BYTES]
      const read = await resultOf(done => engine.inline.read(fd, piece, 0, done))
      if (read === BLOCK_BYTES) return { memoryBytes, lengthBytes: BLOCK_BYTES }
    }
    return refused('no alignment is good enough')
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EINVAL') return refused(code)
    return await fromSystem(`${path}: open`, Promise.reject(error as Error))
  } finally {
    await handle?.close()
    await rm(path, { force: true })
    engine.detach(slot)
    region.close()
  }
}
