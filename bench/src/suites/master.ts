import type { Directory } from '@mooncake-ts/core'
import { compare, resultOf, type Sample } from '../harness/compare.js'
import { KEY_BYTES, keyOf, MasterBench, type KeyRange, type Member } from '../harness/master-bench.js'
import { measure } from '../harness/measure.js'
import type { Result, Target } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'

const BATCH = 128
/** Batches under way at a time, from one client. */
const DEPTH = 8
/** Of the real Mooncake, whose keys have values. */
const RIVAL_OBJECT = { objectBytes: 4096, count: 16_384 }
const SIZES = { memory: [1e6, 5e6, 20e6], victim: 1e6, removed: 100_000 }
const SHORT_SIZES = { memory: [10_000], victim: 2000, removed: 1000 }
/** So that nodes come and go through different keys. */
const VICTIM_FROM = 1e9

const MEMORY_TARGETS: Readonly<Record<number, readonly Target[]>> = { 5e6: [{ atMost: 250 }] }
const EXISTS_TARGETS: readonly Target[] = [{ atLeast: 1e6 }]
const SWEEP_TARGETS: readonly Target[] = [{ atMost: 1000 }]
const BLOCKED_TARGETS: readonly Target[] = [{ atMost: 50 }]

/** How fast one client asks for keys, what millions of them cost, and what it costs to lose them. */
export const masterSuite: Suite = {
  name: 'master',
  summary: `exists in batches of ${BATCH} from one client; memory and the loss of a node at up to 20 million keys`,
  async run(context) {
    const sizes = context.short ? SHORT_SIZES : SIZES
    await using master = await MasterBench.start()
    // Two, so that one prepares its report while the master applies the other's.
    const holders = [await master.join('holder-0'), await master.join('holder-1')] as const
    const emptyBytes = master.residentBytes()
    const results: Result[] = []
    let loaded = 0
    for (const size of sizes.memory) {
      const { longestMs } = await master.watch(() => load(holders, { from: loaded, to: size }))
      loaded = size
      const perKey = (master.residentBytes() - emptyBytes) / size
      results.push(...memory(size, perKey, longestMs))
      context.say(`master: ${size} keys`)
      if (size === sizes.memory[0]) results.push(...(await exists(context, holders[0].directory, size)))
    }
    results.push(await removal(context, holders[0], { size: loaded, removed: sizes.removed }))
    results.push(...(await nodeLoss(context, master, { size: loaded, victim: sizes.victim })))
    return results
  },
}

async function load([first, second]: readonly [Member, Member], { from, to }: KeyRange): Promise<void> {
  const middle = from + Math.floor((to - from) / 2)
  await Promise.all([first.add({ from, to: middle }), second.add({ from: middle, to })])
}

function memory(size: number, bytesPerKey: number, longestMs: number): Result[] {
  const suffix = `${KEY_BYTES}BKeys/${size}Keys`
  return [
    resultOf(
      {
        name: `master/memory/${suffix}`,
        unit: 'bytes/key (resident set)',
        better: 'less',
        targets: MEMORY_TARGETS[size] ?? [],
      },
      [{ value: bytesPerKey }],
    ),
    resultOf(
      {
        name: `master/growth/${suffix}`,
        unit: 'ms blocked at most',
        better: 'less',
        targets: BLOCKED_TARGETS,
      },
      [{ value: longestMs }],
    ),
  ]
}

async function exists(context: SuiteContext, directory: Directory, keyCount: number): Promise<Result[]> {
  const mooncake = await context.rivals.mooncake()
  await mooncake?.load(RIVAL_OBJECT.objectBytes, RIVAL_OBJECT.count)
  let next = 0
  const ask = async (): Promise<number> => {
    const keys = Array.from({ length: BATCH }, () => keyOf((next += 7919) % keyCount))
    const answers = await directory.exists(keys)
    if (answers.includes(false)) throw new Error('A key that was put does not exist')
    return BATCH
  }
  const results: Result[] = []
  for (const depth of [1, DEPTH]) {
    const { objectBytes } = RIVAL_OBJECT
    results.push(
      await compare(context, {
        name: `master/exists/batch${BATCH}/depth${depth}`,
        unit: 'keys/s',
        ours: durationMs => measure(ask, { durationMs, depth }),
        rivals: { mooncake: mooncake?.contender({ operation: 'exists', objectBytes, batch: BATCH, depth }) },
        targets: depth === DEPTH ? EXISTS_TARGETS : [],
      }),
    )
  }
  return results
}

/** As a node that evicts: in batches, one after another. */
async function removal(
  { rounds, say }: SuiteContext,
  holder: Member,
  { size, removed }: { readonly size: number; readonly removed: number },
): Promise<Result> {
  const samples: Sample[] = []
  for (let round = 0; round < rounds; round++) {
    const range = { from: 0, to: removed }
    const begunMs = performance.now()
    await holder.remove(range)
    samples.push({ value: removed / ((performance.now() - begunMs) / 1000) })
    await holder.add(range)
  }
  say('master removal')
  return resultOf({ name: `master/remove/${size}Keys`, unit: 'keys/s' }, samples)
}

/** A node leaves: how long until the master has forgotten its routes, and how long it stood still at most. */
async function nodeLoss(
  { rounds, say }: SuiteContext,
  master: MasterBench,
  { size, victim }: { readonly size: number; readonly victim: number },
): Promise<Result[]> {
  const totals: Sample[] = []
  const blocked: Sample[] = []
  for (let round = 0; round < rounds; round++) {
    const member = await master.join(`victim-${round}`)
    const from = VICTIM_FROM * (round + 1)
    await member.add({ from, to: from + victim })
    const { longestMs, totalMs } = await master.watch(async () => {
      await member.leave()
      await master.untilKeyCount(size)
    })
    totals.push({ value: totalMs })
    blocked.push({ value: longestMs })
    say(`master node loss round ${round + 1}`)
  }
  const name = `master/nodeLoss/${victim}Routes/of${size + victim}`
  return [
    resultOf({ name, unit: 'ms', better: 'less', targets: SWEEP_TARGETS }, totals),
    resultOf(
      { name: `${name}/blocked`, unit: 'ms blocked at most', better: 'less', targets: BLOCKED_TARGETS },
      blocked,
    ),
  ]
}
