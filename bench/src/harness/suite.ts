import type { Rivals } from '../rivals/rivals.js'
import type { Result } from './result.js'

/**
 * A suite is one self-contained file in `src/suites`, listed in `src/suites/index.ts`. It builds what it
 * measures, gives a cell for each figure to `compare`, and takes down everything it started, also where it
 * fails.
 *
 * ```ts
 * export const echoSuite: Suite = {
 *   name: 'echo',
 *   summary: 'round trips of one byte',
 *   async run(context) {
 *     await using echo = await Echo.start()
 *     return [
 *       await compare(context, {
 *         name: 'echo/roundtrip',
 *         unit: 'calls/s',
 *         ours: durationMs => measure(() => echo.call(), { durationMs }),
 *         ceilings: { 'bare socket': durationMs => measure(() => echo.ping(), { durationMs }) },
 *         targets: [{ over: 'ceiling', atLeast: 0.5 }],
 *       }),
 *     ]
 *   },
 * }
 * ```
 *
 * Where the machine lacks what a suite needs, it throws {@link SuiteUnavailable}: the report says so.
 */
export interface Suite {
  readonly name: string
  readonly summary: string
  run(context: SuiteContext): Promise<Result[]>
}

/** What a suite gets from the command line. */
export interface SuiteContext {
  /** Tiny sizes and one round: proves that the suite works, judges nothing. */
  readonly short: boolean
  /** How often each contender of a cell is measured. */
  readonly rounds: number
  /** How long one contender is measured in one round. */
  readonly durationMs: number
  /**
   * How long each contender of a cell runs before the first round. Connections are made, first guesses are
   * corrected, and V8 compiles what runs often, which takes it seconds: a cache that serves has run for days.
   */
  readonly warmUpMs: number
  /** Of each pool that bytes come from or go to: far larger than a cache, unless `short`. */
  readonly poolBytes: number
  /** Of a pool that holds the largest batch of any suite. */
  readonly batchPoolBytes: number
  /** A trace of requests to replay, from `--trace`; suites have a generated one of their own. */
  readonly traceFile?: string
  /** Other programs, started when a suite first asks; undefined where one is not installed. */
  readonly rivals: Rivals
  /** Where a suite says what it is doing. */
  readonly say: (line: string) => void
}

/** How large the pools of contenders are. */
export type PoolSizes = Pick<SuiteContext, 'poolBytes' | 'batchPoolBytes'>

/** Thrown by `Suite.run` where this machine cannot run it at all; the sentence goes into the report. */
export class SuiteUnavailable extends Error {
  override readonly name = 'SuiteUnavailable'
}
