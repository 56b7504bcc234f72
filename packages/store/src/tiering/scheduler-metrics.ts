import type { Counter, Metrics, Tier } from '@mooncake-ts/core'

export interface SchedulerState {
  ops(): number
  bytes(): number
  promotionsQueued(): number
}

/** What became of an object that was to move. */
export type MoveOutcome = 'moved' | 'refused' | 'failed' | 'overtaken'

/** What the scheduler tells of itself. Counters are labelled by the tier that objects leave or come from. */
export class SchedulerMetrics {
  readonly #demotions: Counter
  readonly #demotedBytes: Counter
  readonly #promotions: Counter
  readonly #promotedBytes: Counter

  constructor(metrics: Metrics, state: SchedulerState) {
    const counter = (name: string, help: string, labelNames: readonly string[]): Counter =>
      metrics.counter({ name, help, labelNames })
    const gauge = (name: string, help: string, collect: () => number): void => {
      metrics.gauge({ name, help, collect })
    }
    const outcomes = ['tier', 'outcome']
    this.#demotions = counter('store_demotions_total', 'Objects to be copied to a slower tier', outcomes)
    this.#demotedBytes = counter('store_demoted_bytes_total', 'Bytes copied to a slower tier', ['tier'])
    this.#promotions = counter('store_promotions_total', 'Objects to be copied to a faster tier', outcomes)
    this.#promotedBytes = counter('store_promoted_bytes_total', 'Bytes copied to a faster tier', ['tier'])
    gauge('store_background_ops', 'Copies between tiers that run', () => state.ops())
    gauge('store_background_bytes', 'Bytes of copies between tiers that run', () => state.bytes())
    gauge('store_promotions_queued', 'Objects that wait for promotion', () => state.promotionsQueued())
  }

  demotion({ name }: Tier, outcome: MoveOutcome, bytes: number): void {
    this.#demotions.add(1, { tier: name, outcome })
    if (outcome === 'moved') this.#demotedBytes.add(bytes, { tier: name })
  }

  promotion({ name }: Tier, outcome: MoveOutcome, bytes: number): void {
    this.#promotions.add(1, { tier: name, outcome })
    if (outcome === 'moved') this.#promotedBytes.add(bytes, { tier: name })
  }
}
