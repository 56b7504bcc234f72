import { KIB } from '@mooncake-ts/core'
import { compare, scaled } from '../harness/compare.js'
import { sizeName } from '../harness/names.js'
import { ObjectBench } from '../harness/object-bench.js'
import { RawCopy } from '../harness/raw-copy.js'
import type { Result } from '../harness/result.js'
import type { Suite } from '../harness/suite.js'

const OBJECT_BYTES = 4 * KIB
const BATCH = 32
const DEPTH = 8

/** Many small objects, several batches under way: messages count, not bytes. */
export const smallSuite: Suite = {
  name: 'small',
  summary: `objects of ${sizeName(OBJECT_BYTES)} in batches of ${BATCH}, ${DEPTH} batches in flight`,
  async run(context) {
    await using raw = await RawCopy.start(context)
    await using bench = await ObjectBench.overTcp(context)
    const mooncake = await context.rivals.mooncake()
    const count = context.poolBytes / OBJECT_BYTES
    await bench.load(OBJECT_BYTES, count)
    await mooncake?.load(OBJECT_BYTES, count)
    const results: Result[] = []
    for (const operation of ['get', 'put'] as const) {
      const setting = { operation, objectBytes: OBJECT_BYTES, batch: BATCH, depth: DEPTH } as const
      const keys = 1e9 / OBJECT_BYTES
      const ceilings = Object.entries(raw.ceilings(setting))
      const rival = mooncake?.contender(setting)
      results.push(
        await compare(context, {
          name: `small/${operation}/${sizeName(OBJECT_BYTES)}/batch${BATCH}/depth${DEPTH}`,
          unit: 'keys/s',
          ours: scaled(bench.contender(setting), keys),
          ceilings: Object.fromEntries(ceilings.map(([name, ceiling]) => [name, scaled(ceiling, keys)])),
          rivals: { mooncake: rival && scaled(rival, keys) },
          targets: [{ over: 'mooncake', atLeast: 1 }, ...(operation === 'get' ? [{ atLeast: 100_000 }] : [])],
        }),
      )
    }
    return results
  },
}
