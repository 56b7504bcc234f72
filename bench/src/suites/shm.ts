import { MIB } from '@mooncake-ts/core'
import { compare } from '../harness/compare.js'
import { sizeName } from '../harness/names.js'
import { ObjectBench } from '../harness/object-bench.js'
import { RawMemcpy } from '../harness/raw-memcpy.js'
import type { Result, Target } from '../harness/result.js'
import type { Suite } from '../harness/suite.js'

/** Objects of a batch, for each size. */
const BATCHES: ReadonlyArray<readonly [objectBytes: number, batches: readonly number[]]> = [
  [MIB, [1, 32]],
  [4 * MIB, [1, 32]],
  [32 * MIB, [1, 8]],
]
const SHORT_SIZES_MAX = MIB
/** A view takes the same time for any size. */
const VIEW_MICROS_MAX = 200

const TARGETS: readonly Target[] = [
  { over: 'ceiling', atLeast: 0.85 },
  { over: 'our TCP', atLeast: 2.5 },
]

/** get and put between two processes of one host, beside `memcpy` between pools of the same size. */
export const shmSuite: Suite = {
  name: 'shm',
  summary: 'get and put between two processes over shared memory, beside memcpy and our own TCP',
  async run(context) {
    await using memcpy = await RawMemcpy.start(context)
    await using bench = await ObjectBench.overShm(context)
    await using overTcp = await ObjectBench.overTcp(context)
    const results: Result[] = []
    for (const [objectBytes, batches] of BATCHES) {
      if (context.short && objectBytes > SHORT_SIZES_MAX) continue
      const count = context.poolBytes / objectBytes
      await bench.load(objectBytes, count)
      await overTcp.load(objectBytes, count)
      results.push(
        await compare(context, {
          name: `shm/getView/${sizeName(objectBytes)}`,
          unit: 'µs (p50)',
          better: 'less',
          ours: bench.viewContender(),
          targets: [{ atMost: VIEW_MICROS_MAX }],
        }),
      )
      for (const operation of ['get', 'put'] as const) {
        for (const batch of batches) {
          results.push(
            await compare(context, {
              name: `shm/${operation}/${sizeName(objectBytes)}/batch${batch}`,
              unit: 'GB/s',
              ours: bench.contender({ operation, batch }),
              ceilings: memcpy.ceilings(objectBytes, 'memfd'),
              rivals: { 'our TCP': overTcp.contender({ operation, batch }) },
              targets: operation === 'get' ? TARGETS : [],
            }),
          )
        }
      }
    }
    return results
  },
}
