import type { Result, Spread, Target, TargetOutcome } from './result.js'
import { median } from './stats.js'
import type { SuiteContext } from './suite.js'

/** What one contender did in one round. */
export interface Sample {
  readonly value: number
  readonly p50Us?: number
  readonly p99Us?: number
}

/** Does its work for about this long, and says how fast it was. */
export type Contender = (durationMs: number) => Promise<Sample>

/** One figure, and what it is measured beside. */
export interface Cell {
  readonly name: string
  readonly unit: string
  /** Default: `more`. */
  readonly better?: 'more' | 'less'
  readonly ours: Contender
  /** Several ways to the physical limit; the best median counts. */
  readonly ceilings?: Readonly<Record<string, Contender>>
  /** Undefined: this rival is absent. */
  readonly rivals?: Readonly<Record<string, Contender | undefined>>
  readonly targets?: readonly Target[]
  /** Checks, after the last round, that the bytes are right. @throws where they are not */
  readonly verify?: () => void | Promise<void>
}

/** The same in another unit, e.g. 1e9 / 4096 from GB/s to objects of 4 KiB a second. */
export function scaled(contender: Contender, factor: number): Contender {
  return async durationMs => {
    const sample = await contender(durationMs)
    return { ...sample, value: sample.value * factor }
  }
}

const OURS = 'ours'

/**
 * Measures a cell: in every round each contender once, one after another, in turning order. So a slow phase
 * of the machine meets all alike, and nobody always runs on caches that the same neighbour has left.
 */
export async function compare(context: SuiteContext, cell: Cell): Promise<Result> {
  const rivals = Object.entries(cell.rivals ?? {}).filter(
    (entry): entry is [string, Contender] => entry[1] != null,
  )
  const ceilings = Object.entries(cell.ceilings ?? {})
  const contenders: Array<[string, Contender]> = [[OURS, cell.ours], ...ceilings, ...rivals]
  const samples = new Map(contenders.map(([name]) => [name, [] as Sample[]]))
  for (const [, contend] of contenders) await contend(context.warmUpMs)
  for (let round = 0; round < context.rounds; round++) {
    for (const [name, contend] of round % 2 === 0 ? contenders : contenders.toReversed()) {
      samples.get(name)!.push(await contend(context.durationMs))
    }
  }
  await cell.verify?.()
  context.say(cell.name)
  const spreads = (entries: ReadonlyArray<[string, Contender]>): Record<string, Spread> =>
    Object.fromEntries(entries.map(([name]) => [name, spreadOf(samples.get(name)!)]))
  return summarize(cell, samples.get(OURS)!, spreads(ceilings), spreads(rivals))
}

/** A figure that was measured elsewhere, once a round. */
export function resultOf(
  cell: Pick<Cell, 'name' | 'unit' | 'better' | 'targets'>,
  samples: readonly Sample[],
): Result {
  return summarize(cell, samples, {}, {})
}

function summarize(
  { name, unit, better = 'more', targets = [] }: Pick<Cell, 'name' | 'unit' | 'better' | 'targets'>,
  ours: readonly Sample[],
  ceilings: Readonly<Record<string, Spread>>,
  rivals: Readonly<Record<string, Spread>>,
): Result {
  const spread = spreadOf(ours)
  const medians = Object.values(ceilings).map(ceiling => ceiling.median)
  const ceiling = better === 'more' ? Math.max(...medians) : Math.min(...medians)
  const rivalMedians = Object.fromEntries(
    Object.entries(rivals).map(([rival, { median }]) => [rival, median]),
  )
  const ratioOver = (other: number): number =>
    better === 'more' ? spread.median / other : other / spread.median
  const known: Record<string, number> = medians.length > 0 ? { ...rivalMedians, ceiling } : rivalMedians
  return {
    name,
    value: spread.median,
    unit,
    better,
    spread,
    ...latencies(ours),
    ...(medians.length > 0 && { ceiling, ratio: ratioOver(ceiling), ceilings }),
    ...(Object.keys(rivals).length > 0 && { rivals: rivalMedians, rivalSpreads: rivals }),
    ...(targets.length > 0 && { targets: judge(targets, spread.median, known, ratioOver) }),
  }
}

function judge(
  targets: readonly Target[],
  value: number,
  known: Readonly<Record<string, number>>,
  ratioOver: (other: number) => number,
): TargetOutcome[] {
  return targets
    .filter(({ over }) => over == null || known[over] != null)
    .map(target => {
      const actual = target.over == null ? value : ratioOver(known[target.over]!)
      const { atLeast = -Infinity, atMost = Infinity } = target
      return { ...target, actual, met: actual >= atLeast && actual <= atMost }
    })
}

function spreadOf(samples: readonly Sample[]): Spread {
  const rounds = samples.map(sample => sample.value)
  return { median: median(rounds), min: Math.min(...rounds), max: Math.max(...rounds), rounds }
}

function latencies(samples: readonly Sample[]): Pick<Result, 'p50Us' | 'p99Us'> {
  const p50s = samples.map(sample => sample.p50Us).filter(micros => micros != null)
  const p99s = samples.map(sample => sample.p99Us).filter(micros => micros != null)
  return {
    ...(p50s.length > 0 && { p50Us: median(p50s) }),
    ...(p99s.length > 0 && { p99Us: median(p99s) }),
  }
}
