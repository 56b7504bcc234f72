import { existsSync, readFileSync } from 'node:fs'
import { MooncakeError, parseBytes, type Plugin, type Tier } from '@mooncake-ts/core'
import { checkSchema, Type, type Static } from '@mooncake-ts/rpc'
import { dram } from '@mooncake-ts/tier-dram'

const Bytes = Type.Union([Type.Integer({ minimum: 0 }), Type.String()])

const TierEntry = Type.Object(
  {
    type: Type.String(),
    capacity: Bytes,
    priority: Type.Optional(Type.Integer({ minimum: 0 })),
    tags: Type.Optional(Type.Array(Type.String())),
    allocator_type: Type.Optional(Type.String()),
    numa_node: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { additionalProperties: false },
)
const TiersConfig = Type.Object(
  { tiers: Type.Array(TierEntry, { minItems: 1 }) },
  { additionalProperties: false },
)

const WHERE = '--tiered_backend_config'

/**
 * The plugins of `--tiered_backend_config`: JSON text, or the path of a file with it. Fast to slow, by
 * priority.
 *
 * @throws ERR_CONFIG with the path of the field
 */
export function parseTiers(text: string): Plugin<Tier>[] {
  const config: unknown = parseJson(text)
  checkSchema(TiersConfig, config, WHERE, 'ERR_CONFIG')
  const entries = config.tiers.map((entry, index) => ({ entry, index }))
  entries.sort((a, b) => (b.entry.priority ?? 0) - (a.entry.priority ?? 0))
  return entries.map(({ entry, index }) => tierOf(entry, index))
}

function tierOf(entry: Static<typeof TierEntry>, index: number): Plugin<Tier> {
  const at = `${WHERE}: tiers/${index}`
  if (entry.type !== 'DRAM') {
    const known = ['STORAGE', 'DISK', 'ASCEND_NPU'].includes(entry.type)
    const problem = known
      ? 'this tier of the reference system is not built yet'
      : `unknown tier type ${JSON.stringify(entry.type)}`
    throw new MooncakeError('ERR_CONFIG', `${at}/type: ${problem}; known here: DRAM`)
  }
  if (entry.allocator_type != null && entry.allocator_type !== 'OFFSET') {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${at}/allocator_type: expected OFFSET, got ${JSON.stringify(entry.allocator_type)}`,
    )
  }
  if (entry.numa_node != null) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${at}/numa_node: set the NUMA node of all memory with numactl for now`,
    )
  }
  const capacityBytes = parseBytes(entry.capacity)
  if (capacityBytes == null || capacityBytes === 0) {
    throw new MooncakeError(
      'ERR_CONFIG',
      `${at}/capacity: expected more than 0 bytes, such as 16GB or 1073741824, got ${JSON.stringify(entry.capacity)}`,
    )
  }
  const { priority, tags } = entry
  return dram({
    name: `dram-${index}`,
    capacityBytes,
    ...(priority == null ? {} : { priority }),
    ...(tags == null ? {} : { tags }),
  })
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
