import { randomUUID } from 'node:crypto'
import { open, readdir, readFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { MooncakeError } from '@mooncake-ts/core'
import { tryLockFile } from '@mooncake-ts/io-uring'
import { crc32c } from '@mooncake-ts/memory'
import { install } from './index-files.js'
import { fromSystem } from './io.js'

const FORMAT = 'mooncake-ts/tier-ssd'
const FORMAT_VERSION = 1
const LOCK = 'lock'
const SUPERBLOCK = 'superblock.json'
const OURS = /^(?:data-\d+|index-\d+\.\w+)$/

/** What a directory is, and whose: written once, when the directory is first used. */
export interface Superblock {
  readonly format: string
  readonly version: number
  readonly uuid: string
  /** Of the cluster that the objects belong to; null where it was not said. */
  readonly clusterId: string | null
  /** Of each data file but the last. */
  readonly fileBytes: number
}

export interface DirectoryOptions {
  readonly path: string
  readonly clusterId: string | undefined
  /** For a new directory; one that is there keeps its own. */
  readonly fileBytes: number
}

/** A directory that this process has for itself, until `close`. */
export class TierDirectory {
  readonly path: string
  readonly superblock: Superblock
  readonly #lock: FileHandle

  private constructor(path: string, superblock: Superblock, lock: FileHandle) {
    this.path = path
    this.superblock = superblock
    this.#lock = lock
  }

  /**
   * The directory must exist: one that is missing may be a disk that is not mounted.
   * @throws ERR_DIRECTORY_IN_USE, ERR_DIRECTORY_FOREIGN, ERR_IO, ERR_NO_SPACE
   */
  static async open(options: DirectoryOptions): Promise<TierDirectory> {
    const { path } = options
    const lock = await fromSystem(`The directory ${path} cannot be used`, open(join(path, LOCK), 'a+'))
    try {
      if (!tryLockFile(lock.fd)) {
        throw new MooncakeError(
          'ERR_DIRECTORY_IN_USE',
          `Another process, or another tier of this one, uses ${path}`,
        )
      }
      const superblock = (await readSuperblock(path)) ?? (await makeSuperblock(options))
      assertOwn(superblock, options)
      return new TierDirectory(path, superblock, lock)
    } catch (error) {
      await lock.close()
      throw error
    }
  }

  /** The seed of the checksums of the index. */
  get seed(): number {
    return crc32c(Buffer.from(this.superblock.uuid))
  }

  /** Others may have it then. */
  async close(): Promise<void> {
    await this.#lock.close()
  }
}

async function readSuperblock(path: string): Promise<Superblock | undefined> {
  let text: string
  try {
    text = await readFile(join(path, SUPERBLOCK), 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    return await fromSystem(`${SUPERBLOCK} in ${path}: read`, Promise.reject(error as Error))
  }
  const { crc32c: sum, ...superblock } = parse(text)
  if (sum === checksumOf(superblock)) return superblock as unknown as Superblock
  throw new MooncakeError('ERR_DIRECTORY_FOREIGN', `${SUPERBLOCK} in ${path} is damaged, or not ours`)
}

async function makeSuperblock({ path, clusterId, fileBytes }: DirectoryOptions): Promise<Superblock> {
  const names = await fromSystem(`${path}: read`, readdir(path))
  const stray = names.find(name => OURS.test(name))
  if (stray != null) {
    throw new MooncakeError(
      'ERR_DIRECTORY_FOREIGN',
      `${path} has ${stray}, but no ${SUPERBLOCK} that says whose it is`,
    )
  }
  const superblock = {
    format: FORMAT,
    version: FORMAT_VERSION,
    uuid: randomUUID(),
    clusterId: clusterId ?? null,
    fileBytes,
  }
  const unfinished = join(path, `${SUPERBLOCK}.tmp`)
  const text = `${JSON.stringify({ ...superblock, crc32c: checksumOf(superblock) }, null, 2)}\n`
  const handle = await fromSystem(`${unfinished}: open`, open(unfinished, 'w'))
  try {
    await fromSystem(`${unfinished}: write`, handle.writeFile(text))
    await fromSystem(`${unfinished}: fsync`, handle.sync())
  } finally {
    await handle.close()
  }
  await install(path, unfinished, join(path, SUPERBLOCK))
  return superblock
}

function assertOwn({ format, version, clusterId }: Superblock, options: DirectoryOptions): void {
  const foreign = (sentence: string): MooncakeError =>
    new MooncakeError('ERR_DIRECTORY_FOREIGN', `${options.path} ${sentence}`)
  if (format !== FORMAT || version !== FORMAT_VERSION)
    throw foreign(`has the format ${format} ${version}, not ${FORMAT} ${FORMAT_VERSION}`)
  const belongs = clusterId == null ? 'no named cluster' : `the cluster ${clusterId}`
  if (options.clusterId != null && clusterId !== options.clusterId)
    throw foreign(`belongs to ${belongs}, not to ${options.clusterId}`)
}

function parse(text: string): Record<string, unknown> {
  try {
    return { ...(JSON.parse(text) as object) }
  } catch {
    return {}
  }
}

const checksumOf = (superblock: object): number => crc32c(Buffer.from(JSON.stringify(superblock)))
