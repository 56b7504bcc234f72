/** Over the rounds of a run. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  /** One value a round, in the order of the rounds. */
  readonly rounds: readonly number[]
}

/** One figure of a suite, as it is in the JSON file. */
export interface Result {
  /** `suite/operation/size/batch`, e.g. `tcp/get/4MiB/batch1`. */
  readonly name: string
  /** Median over the rounds. */
  readonly value: number
  readonly unit: string
  readonly better: 'more' | 'less'
  readonly spread: Spread
  readonly p50Us?: number
  readonly p99Us?: number
  /** What the machine can do, in the same unit, measured in the same run: the best of `ceilings`. */
  readonly ceiling?: number
  /** How close to the ceiling: larger is better, 1 is all there is. */
  readonly ratio?: number
  readonly ceilings?: Readonly<Record<string, Spread>>
  /** What others do, in the same unit and run. */
  readonly rivals?: Readonly<Record<string, number>>
  readonly rivalSpreads?: Readonly<Record<string, Spread>>
  readonly targets?: readonly TargetOutcome[]
}

/**
 * What a figure shall reach. `over` is `ceiling`, the name of a rival, or absent: then the figure itself is
 * judged. A target over a rival that is absent is not judged.
 */
export interface Target {
  readonly over?: string
  readonly atLeast?: number
  readonly atMost?: number
}

export interface TargetOutcome extends Target {
  /** What was compared: the ratio (larger is better), or the figure. */
  readonly actual: number
  readonly met: boolean
}
