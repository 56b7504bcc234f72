import { KIB, MIB } from '@mooncake-ts/core'
import { compare } from '../harness/compare.js'
import { sizeName } from '../harness/names.js'
import { perftest } from '../harness/perftest.js'
import { activeRdmaDevices } from '../harness/rdma-devices.js'
import { RdmaPair } from '../harness/rdma-pair.js'
import type { Result } from '../harness/result.js'
import { SuiteUnavailable, type Suite } from '../harness/suite.js'

/** What is under way, ours and perftest's: 128 messages of 64 KiB, and 16 of 1 MiB. */
const SIZES = [
  { messageBytes: 64 * KIB, batch: 16, depth: 8 },
  { messageBytes: MIB, batch: 4, depth: 4 },
] as const
/** In a virtual machine single rounds differ by half. */
const ROUNDS_MIN = 7
/** Registering memory takes time, and a virtual machine has little. */
const POOL_BYTES = 32 * MIB
/** perftest counts the transfer only; shorter ones say little on an emulated machine. */
const DURATION_MS_MIN = 2000

/** READ and WRITE between two processes over RDMA, beside perftest over the same devices. */
export const rdmaSuite: Suite = {
  name: 'rdma',
  summary:
    'READ and WRITE between two processes over RDMA, beside perftest; alone, it finds itself a virtual machine',
  async run(context) {
    const [from, to = from] = activeRdmaDevices()
    if (from == null || to == null) {
      throw new SuiteUnavailable(
        'No RDMA device here; `npm run bench -- rdma` measures in a virtual machine.',
      )
    }
    const durationMs = context.short ? context.durationMs : Math.max(context.durationMs, DURATION_MS_MIN)
    const rounds = context.short ? context.rounds : Math.max(context.rounds, ROUNDS_MIN)
    await using pair = await RdmaPair.start(from, to, POOL_BYTES)
    const results: Result[] = []
    for (const operation of ['write', 'read'] as const) {
      for (const { messageBytes, batch, depth } of SIZES) {
        results.push(
          await compare(
            { ...context, durationMs, rounds },
            {
              name: `rdma/${operation}/${sizeName(messageBytes)}`,
              unit: 'MiB/s',
              ours: pair.contender({ operation, messageBytes, batch, depth }),
              ceilings: { perftest: perftest({ operation, messageBytes, depth: batch * depth, from, to }) },
              targets: [{ over: 'ceiling', atLeast: 0.85 }],
              verify: () => pair.verify(),
            },
          ),
        )
      }
    }
    return results
  },
}
