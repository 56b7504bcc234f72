/** One figure of a suite. */
export interface Result {
  /** `suite/operation/size/batch`, e.g. `tcp/get/4MiB/batch1`. */
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly p50Us?: number
  readonly p99Us?: number
  /** What the machine can do, in the same unit, measured in the same run. */
  readonly ceiling?: number
  /** Value over ceiling: larger is better. */
  readonly ratio?: number
  /** What others do, in the same unit and run. */
  readonly rivals?: Readonly<Record<string, number>>
}

export interface Suite {
  readonly name: string
  readonly summary: string
  run(options: SuiteOptions): Promise<Result[]>
}

export interface SuiteOptions {
  /** Tiny sizes and one round: proves that the suite works, judges nothing. */
  readonly short: boolean
  /** Where a suite says what it is doing. */
  readonly say: (line: string) => void
}

export function withRatio(result: Omit<Result, 'ratio'>): Result {
  const { ceiling, value } = result
  return ceiling == null || !(ceiling > 0) ? result : { ...result, ratio: value / ceiling }
}
