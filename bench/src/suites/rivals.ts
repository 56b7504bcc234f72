import { KIB, MIB } from '@mooncake-ts/core'
import { compare } from '../harness/compare.js'
import { sizeName } from '../harness/names.js'
import { ObjectBench } from '../harness/object-bench.js'
import { RawCopy } from '../harness/raw-copy.js'
import type { Result, Target } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'
import { NodeNet } from '../rivals/node-net.js'

const SIZES = [4 * KIB, 64 * KIB, MIB, 4 * MIB]
const SHORT_SIZES = [4 * KIB]
const CONNECTIONS = 8
const KEYS_MAX = 16_384
/** The size at which the target over Redis is set. */
const TARGET_BYTES = 4 * MIB

/** What others do with single objects, eight at a time. */
export const rivalsSuite: Suite = {
  name: 'rivals',
  summary: `single objects, ${CONNECTIONS} at a time, beside Redis, the real Mooncake and Node's net`,
  async run(context) {
    await using raw = await RawCopy.start(context)
    await using net = await NodeNet.start(context)
    await using bench = await ObjectBench.overTcp(context)
    const results: Result[] = []
    for (const objectBytes of context.short ? SHORT_SIZES : SIZES)
      results.push(...(await runSize(context, { raw, net, bench }, objectBytes)))
    return results
  },
}

interface Parts {
  readonly raw: RawCopy
  readonly net: NodeNet
  readonly bench: ObjectBench
}

async function runSize(
  context: SuiteContext,
  { raw, net, bench }: Parts,
  objectBytes: number,
): Promise<Result[]> {
  const [redis, mooncake] = [await context.rivals.redis(), await context.rivals.mooncake()]
  // It takes seconds a figure: where bytes count, not messages.
  const engine = objectBytes === TARGET_BYTES ? await context.rivals.transferEngine() : undefined
  const count = Math.min(KEYS_MAX, context.poolBytes / objectBytes)
  for (const store of [bench, redis, mooncake]) await store?.load(objectBytes, count)
  const targets: Target[] =
    objectBytes === TARGET_BYTES
      ? [
          { over: 'redis-benchmark', atLeast: 2 },
          { over: 'redis (ioredis)', atLeast: 2 },
        ]
      : []
  const results: Result[] = []
  for (const operation of ['get', 'put'] as const) {
    const setting = { operation, objectBytes, connections: CONNECTIONS } as const
    const redisSetting = { ...setting, operation: operation === 'get' ? 'get' : 'set' } as const
    const batches = { operation, objectBytes, batch: 1, depth: CONNECTIONS } as const
    results.push(
      await compare(context, {
        name: `rivals/${operation}/${sizeName(objectBytes)}/x${CONNECTIONS}`,
        unit: 'GB/s',
        ours: bench.contender(batches),
        ceilings: raw.ceilings(batches),
        rivals: {
          'redis-benchmark': redis?.benchmark(redisSetting),
          'redis (ioredis)': redis?.client(redisSetting),
          'mooncake transfer engine': engine?.contender(batches),
          mooncake: mooncake?.contender(batches),
          'node:net': net.contender(setting),
        },
        targets,
      }),
    )
  }
  return results
}
