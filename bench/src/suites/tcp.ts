import { KIB, MIB } from '@mooncake-ts/core'
import { compare, type Contender } from '../harness/compare.js'
import { sizeName } from '../harness/names.js'
import { ObjectBench } from '../harness/object-bench.js'
import { RawCopy } from '../harness/raw-copy.js'
import type { Result, Target } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'

/** Objects of a batch, for each size. */
const BATCHES: ReadonlyArray<readonly [objectBytes: number, batches: readonly number[]]> = [
  [4 * KIB, [1, 32]],
  [64 * KIB, [1, 32]],
  [MIB, [1, 32]],
  [4 * MIB, [1, 32]],
  [32 * MIB, [1, 32]],
]
const SHORT_SIZES_MAX = MIB

/** From here on the machine's copy counts, not the number of messages. */
const TARGETS_FROM_BYTES = MIB
const TARGETS: readonly Target[] = [
  { over: 'ceiling', atLeast: 0.9 },
  { over: 'mooncake', atLeast: 3 },
]

/** get and put between two processes over TCP, beside a raw copy of the same sizes through sockets. */
export const tcpSuite: Suite = {
  name: 'tcp',
  summary: 'get and put between two processes over TCP, beside a raw socket copy and the real Mooncake',
  async run(context) {
    await using raw = await RawCopy.start(context)
    await using bench = await ObjectBench.overTcp(context, context.batchPoolBytes)
    const results: Result[] = []
    for (const [objectBytes, batches] of BATCHES) {
      if (context.short && (objectBytes > SHORT_SIZES_MAX || objectBytes === 64 * KIB)) continue
      results.push(...(await runSize(context, bench, raw, objectBytes, batches)))
    }
    return results
  },
}

async function runSize(
  context: SuiteContext,
  bench: ObjectBench,
  raw: RawCopy,
  objectBytes: number,
  batches: readonly number[],
): Promise<Result[]> {
  const mooncake = await context.rivals.mooncake()
  const count = Math.max(context.poolBytes / objectBytes, ...batches)
  await bench.load(objectBytes, count)
  await mooncake?.load(objectBytes, count)
  const results: Result[] = []
  // Gets first: puts evict what they read.
  for (const operation of ['get', 'put'] as const) {
    for (const batch of batches) {
      results.push(
        await compare(context, {
          name: `tcp/${operation}/${sizeName(objectBytes)}/batch${batch}`,
          unit: 'GB/s',
          ours: bench.contender({ operation, batch }),
          ceilings: raw.ceilings({ operation, objectBytes, batch }),
          rivals: { mooncake: mooncake?.contender({ operation, objectBytes, batch }) },
          targets: objectBytes < TARGETS_FROM_BYTES ? [] : TARGETS,
        }),
      )
    }
    if (operation === 'get' && objectBytes === MIB) results.push(await latency(context, bench, raw))
  }
  return results
}

/** How long one get takes, beside a request and its answer over one raw socket. */
async function latency(context: SuiteContext, bench: ObjectBench, raw: RawCopy): Promise<Result> {
  const setting = { operation: 'get', objectBytes: MIB, batch: 1 } as const
  return await compare(context, {
    name: 'tcp/latency/1MiB',
    unit: 'µs (p50)',
    better: 'less',
    ours: p50Of(bench.contender(setting)),
    ceilings: Object.fromEntries(
      Object.entries(raw.ceilings(setting))
        .filter(([name]) => name.includes(' 1 ×'))
        .map(([name, contender]) => [name, p50Of(contender)]),
    ),
    targets: [{ over: 'ceiling', atLeast: 0.5 }],
  })
}

function p50Of(contender: Contender): Contender {
  return async durationMs => {
    const { p50Us = NaN, p99Us = NaN } = await contender(durationMs)
    return { value: p50Us, p50Us, p99Us }
  }
}
