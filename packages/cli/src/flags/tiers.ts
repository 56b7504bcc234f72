import { existsSync, readFileSync } from 'node:fs'
import { MooncakeError, parseBytes, type Plugin, type Tier } from '@mooncake-ts/core'
import { checkSchema, Type, type Static } from '@mooncake-ts/rpc'
import type { SchedulerConfig } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { ssd } from '@mooncake-ts/tier-ssd'
import { refuseNotBuilt, type NotBuiltField } from './not-built-fields.js'
import { schedulerOf, SchedulerEntry } from './scheduler.js'

const Bytes = Type.Union([Type.Integer({ minimum: 0 }), Type.String()])
const Count = Type.Integer({ minimum: 0 })

const TierEntry = Type.Object(
  {
    type: Type.String(),
    capacity: Bytes,
    priority: Type.Optional(Count),
    tags: Type.Optional(Type.Array(Type.String())),
    allocator_type: Type.Optional(Type.String()),
    numa_node: Type.Optional(Count),
    storage_filepath: Type.Optional(Type.String()),
    durability: Type.Optional(Type.String()),
    total_size_limit: Type.Optional(Bytes),
    staging_buffer_capacity: Type.Optional(Bytes),
    storage_backend_type: Type.Optional(Type.String()),
    batch_size_threshold: Type.Optional(Bytes),
    batch_count_threshold: Type.Optional(Count),
    bucket_size_limit: Type.Optional(Bytes),
    bucket_keys_limit: Type.Optional(Count),
  },
  { additionalProperties: false },
)
type TierFields = Static<typeof TierEntry>

const TiersConfig = Type.Object(
  { tiers: Type.Array(TierEntry, { minItems: 1 }), scheduler: Type.Optional(SchedulerEntry) },
  { additionalProperties: false },
)

const WHERE = '--tiered_backend_config'

/** Direct I/O moves bytes of memory that is aligned so in place. */
const DEVICE_ALIGNMENT_BYTES = 4096

const DRAM_FIELDS = new Set<keyof TierFields>(['allocator_type', 'numa_node'])
const COMMON_FIELDS = new Set<keyof TierFields>(['type', 'capacity', 'priority', 'tags'])
const PRIORITIES: Readonly<Record<string, number>> = { DRAM: 100, STORAGE: 10 }

/** How the reference system groups objects in files; ours are grouped otherwise. */
const STORAGE_NOT_BUILT: readonly NotBuiltField[] = [
  { name: 'storage_backend_type', inert: 'bucket_storage_backend' },
  { name: 'batch_size_threshold', inert: '64MB' },
  { name: 'batch_count_threshold', inert: 1000 },
  { name: 'bucket_size_limit', inert: '256MB' },
  { name: 'bucket_keys_limit', inert: 500 },
]

export interface TieredBackendConfig {
  /** Fast to slow, by priority. */
  readonly tiers: Plugin<Tier>[]
  /** Whether there is a tier without memory addresses. */
  readonly hasDisk: boolean
  /** Where it was said. */
  readonly scheduler?: SchedulerConfig
}

export interface DramDefaults {
  /** Take all memory from the system at start. @defaultValue true */
  readonly prefault?: boolean
}

interface Placed {
  readonly entry: TierFields
  readonly kind: 'DRAM' | 'STORAGE'
  readonly priority: number
  /** The entry, for messages. */
  readonly at: string
  /** Its place in the file, for its name. */
  readonly index: number
}

/**
 * What `--tiered_backend_config` says: JSON text, or the path of a file with it.
 *
 * @throws ERR_CONFIG with the path of the field
 */
export function parseTiers(text: string, dramDefaults: DramDefaults = {}): TieredBackendConfig {
  const config: unknown = parseJson(text)
  checkSchema(TiersConfig, config, WHERE, 'ERR_CONFIG')
  const placed = config.tiers.map((entry, index): Placed => {
    const at = `${WHERE}: tiers/${index}`
    const kind = kindOf(entry, at)
    return { entry, kind, priority: entry.priority ?? PRIORITIES[kind]!, at, index }
  })
  placed.sort((a, b) => b.priority - a.priority)
  const toDevices = placed.some(({ kind }) => kind === 'STORAGE')
  const tiers = placed.map(tier =>
    tier.kind === 'STORAGE' ? storageOf(tier) : dramOf(tier, toDevices, dramDefaults),
  )
  if (config.scheduler == null) return { tiers, hasDisk: toDevices }
  return { tiers, hasDisk: toDevices, scheduler: schedulerOf(config.scheduler, `${WHERE}: scheduler`) }
}

function kindOf({ type }: TierFields, at: string): Placed['kind'] {
  if (type === 'DRAM') return type
  if (type === 'STORAGE' || type === 'DISK') return 'STORAGE'
  const problem =
    type === 'ASCEND_NPU'
      ? 'this tier of the reference system is not built yet'
      : `unknown tier type ${JSON.stringify(type)}`
  throw new MooncakeError('ERR_CONFIG', `${at}/type: ${problem}; known here: DRAM, STORAGE, DISK`)
}

function dramOf(
  { entry, priority, at, index }: Placed,
  toDevices: boolean,
  { prefault = true }: DramDefaults,
): Plugin<Tier> {
  assertFields(entry, DRAM_FIELDS, at)
  if (entry.allocator_type != null && entry.allocator_type !== 'OFFSET') {
    throw wrong(at, 'allocator_type', `expected OFFSET, got ${JSON.stringify(entry.allocator_type)}`)
  }
  if (entry.numa_node != null) {
    throw wrong(at, 'numa_node', 'set the NUMA node of all memory with numactl for now')
  }
  return dram({
    name: `dram-${index}`,
    capacityBytes: bytesOf(entry, 'capacity', at),
    priority,
    prefault,
    ...(entry.tags == null ? {} : { tags: entry.tags }),
    ...(toDevices ? { alignmentBytes: DEVICE_ALIGNMENT_BYTES } : {}),
  })
}

function storageOf({ entry, priority, at, index }: Placed): Plugin<Tier> {
  const { storage_filepath: directory, durability = 'ack-on-write', tags } = entry
  const foreign = [...DRAM_FIELDS].find(name => entry[name] != null)
  if (foreign != null) throw wrong(at, foreign, 'means nothing for a tier on a disk')
  refuseNotBuilt(entry, STORAGE_NOT_BUILT, at)
  if (directory == null || directory === '') {
    throw wrong(at, 'storage_filepath', 'expected the directory that the tier works in')
  }
  if (durability !== 'ack-on-write' && durability !== 'ack-on-fsync') {
    throw wrong(at, 'durability', `expected ack-on-write or ack-on-fsync, got ${JSON.stringify(durability)}`)
  }
  const capacityBytes = bytesOf(entry, 'capacity', at)
  const limitBytes = entry.total_size_limit == null ? Infinity : bytesOf(entry, 'total_size_limit', at)
  return ssd({
    name: `ssd-${index}`,
    directory,
    capacityBytes: Math.min(capacityBytes, limitBytes),
    durability,
    priority,
    ...(tags == null ? {} : { tags }),
    ...(entry.staging_buffer_capacity == null
      ? {}
      : { stagingBytes: bytesOf(entry, 'staging_buffer_capacity', at) }),
  })
}

/** Nothing that is said of a tier may be ignored. */
function assertFields(entry: TierFields, own: ReadonlySet<keyof TierFields>, at: string): void {
  for (const name of Object.keys(entry) as Array<keyof TierFields>) {
    if (!own.has(name) && !COMMON_FIELDS.has(name))
      throw wrong(at, name, `means nothing for a ${entry.type} tier`)
  }
}

function bytesOf(
  entry: TierFields,
  name: 'capacity' | 'total_size_limit' | 'staging_buffer_capacity',
  at: string,
): number {
  const bytes = parseBytes(entry[name]!)
  if (bytes != null && bytes > 0) return bytes
  throw wrong(
    at,
    name,
    `expected more than 0 bytes, such as 16GB or 1073741824, got ${JSON.stringify(entry[name])}`,
  )
}

function wrong(at: string, field: string, sentence: string): MooncakeError {
  return new MooncakeError('ERR_CONFIG', `${at}/${field}: ${sentence}`)
}

function parseJson(text: string): unknown {
  const inline = text.trimStart().startsWith('{')
  if (!inline && !existsSync(text)) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${WHERE}: neither JSON nor the path of a file: ${JSON.stringify(text)}`,
    )
  }
  try {
    return JSON.parse(inline ? text : readFileSync(text, 'utf8'))
  } catch (error) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${WHERE}: ${inline ? '' : `${text}: `}not valid JSON: ${(error as Error).message}`,
      { cause: error },
    )
  }
}
