import { gib, mib, MooncakeError } from '@mooncake-ts/core'
import type { IoEngine } from '@mooncake-ts/io-uring'
import { STAGED_BYTES_MAX } from './groups.js'
import { BLOCK_BYTES } from './io.js'

/**
 * What an acknowledged commit survives. `ack-on-write`: the end of the process, however it comes; after the
 * end of the machine the last objects may be missing. `ack-on-fsync`: both.
 */
export type Durability = 'ack-on-write' | 'ack-on-fsync'

export interface SsdOptions {
  /** Must exist, and belongs to this tier alone. */
  readonly directory: string
  /** For the bytes of objects, in whole blocks of 4 KiB each; the index comes on top. */
  readonly capacityBytes: number
  /** @defaultValue 'ack-on-write' */
  readonly durability?: Durability
  /** Objects of another cluster are refused. @defaultValue not checked */
  readonly clusterId?: string
  /** Unique within the node. @defaultValue 'ssd-0' */
  readonly name?: string
  /** Higher is faster. @defaultValue 10 */
  readonly priority?: number
  /** For placement policies. @defaultValue none */
  readonly tags?: readonly string[]
  /**
   * Operations in flight at the device; others wait here, for when it has ended some and these are being
   * checked. @defaultValue 48
   */
  readonly queueDepth?: number
  /** Memory for bytes that direct I/O cannot take where they lie. @defaultValue 16 MiB */
  readonly stagingBytes?: number
  /** Around the page cache, where the file system can. @defaultValue true */
  readonly directIo?: boolean
  /** Take the disk space at start, where the file system can. @defaultValue true */
  readonly preallocate?: boolean
  /** Of each data file, in a new directory. @defaultValue 16 GiB */
  readonly fileBytes?: number
  /**
   * The index is compacted when it is twice as long as what counts in it, and so much more.
   * @defaultValue 8 MiB
   */
  readonly indexSlackBytes?: number
  /** Who does the I/O; the tier closes it. @defaultValue `createIoEngine` of `@mooncake-ts/io-uring` */
  readonly createEngine?: () => IoEngine
}

export const DEFAULTS: SsdDefaults = {
  durability: 'ack-on-write',
  name: 'ssd-0',
  priority: 10,
  tags: [],
  queueDepth: 48,
  stagingBytes: mib(16),
  directIo: true,
  preallocate: true,
  fileBytes: gib(16),
  indexSlackBytes: mib(8),
}

type SsdDefaults = Required<Omit<SsdOptions, 'directory' | 'capacityBytes' | 'clusterId' | 'createEngine'>>
export type SsdSettings = SsdOptions & SsdDefaults

/** @throws ERR_INVALID_PARAMS */
export function assertOptions(options: SsdOptions): void {
  const settings = { ...DEFAULTS, ...options }
  const { directory, capacityBytes, durability, name, priority } = settings
  const { queueDepth, stagingBytes, fileBytes, indexSlackBytes } = settings
  const check = (isRight: boolean, sentence: string): void => {
    if (!isRight) throw new MooncakeError('ERR_INVALID_PARAMS', `ssd: ${sentence}`)
  }
  check(typeof directory === 'string' && directory !== '', 'directory must not be empty')
  check(isCount(capacityBytes, BLOCK_BYTES), 'capacityBytes must be a whole number of at least 4096')
  check(capacityBytes <= BLOCK_BYTES * 2 ** 32 - BLOCK_BYTES, 'capacityBytes must be below 16 TiB')
  check(
    durability === 'ack-on-write' || durability === 'ack-on-fsync',
    'durability is ack-on-write or ack-on-fsync',
  )
  check(name !== '', 'name must not be empty')
  check(Number.isFinite(priority), 'priority must be a number')
  check(isCount(queueDepth, 1), 'queueDepth must be a positive whole number')
  check(isCount(stagingBytes, STAGED_BYTES_MAX), 'stagingBytes must be a whole number of at least 1 MiB')
  check(isCount(indexSlackBytes, 0), 'indexSlackBytes must not be negative')
  check(
    isCount(fileBytes, BLOCK_BYTES) && fileBytes % BLOCK_BYTES === 0,
    'fileBytes must be a multiple of 4096',
  )
}

const isCount = (value: number, min: number): boolean => Number.isSafeInteger(value) && value >= min
