import type { Clock, Counter, Gauge, Histogram, Labels, Metrics } from '@mooncake-ts/core'
import type { Tier } from '@mooncake-ts/core'

/**
 * What has labels is written so often, and when somebody scrapes, not at each change: neither a reservation
 * nor a read must pay for it.
 */
const REPORT_INTERVAL_MS = 1000
const WAIT_BUCKETS_MS = [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000]

export interface TierView {
  readonly tier: Tier
  readonly capacityBytes: number
  readonly usedBytes: number
  readonly keyCount: number
}

export interface BackendState {
  keyCount(): number
  waitingReservations(): number
  tierViews(): TierView[]
}

/** What a backend tells of itself, under names that begin with `store_`. */
export class BackendMetrics implements Disposable {
  readonly waitMs: Histogram
  readonly #evictions: Counter
  readonly #evictedBytes: Counter
  readonly #reads: Counter
  /** Since the last report. */
  readonly #readsSince = new Map<Tier, number>()
  readonly #capacityBytes: Gauge
  readonly #usedBytes: Gauge
  readonly #tierKeys: Gauge
  readonly #labels = new Map<Tier, Labels>()
  readonly #state: BackendState
  readonly #timer: Disposable

  constructor(metrics: Metrics, clock: Clock, state: BackendState) {
    this.#state = state
    const labelNames = ['tier']
    const gauge = (name: string, help: string): Gauge => metrics.gauge({ name, help, labelNames })
    const counter = (name: string, help: string): Counter => metrics.counter({ name, help, labelNames })
    metrics.gauge({
      name: 'store_keys',
      help: 'Objects of this node',
      collect: () => {
        this.#report()
        return state.keyCount()
      },
    })
    metrics.gauge({
      name: 'store_waiting_reservations',
      help: 'Puts that wait for space',
      collect: () => state.waitingReservations(),
    })
    this.waitMs = metrics.histogram({
      name: 'store_reservation_wait_ms',
      help: 'How long puts that found no space waited for it',
      buckets: WAIT_BUCKETS_MS,
    })
    this.#evictions = counter('store_evictions_total', 'Objects evicted from a tier')
    this.#evictedBytes = counter('store_evicted_bytes_total', 'Bytes of objects evicted from a tier')
    this.#reads = counter('store_tier_reads_total', 'Reads of objects that a tier served')
    this.#capacityBytes = gauge('store_tier_capacity_bytes', 'Capacity of a tier')
    this.#usedBytes = gauge('store_tier_used_bytes', 'Bytes in use in a tier')
    this.#tierKeys = gauge('store_tier_keys', 'Objects in a tier')
    this.#timer = clock.every(REPORT_INTERVAL_MS, () => {
      this.#report()
    })
  }

  evicted(tier: Tier, objects: number, bytes: number): void {
    this.#evictions.add(objects, this.#labelsOf(tier))
    this.#evictedBytes.add(bytes, this.#labelsOf(tier))
  }

  read(tier: Tier): void {
    this.#readsSince.set(tier, (this.#readsSince.get(tier) ?? 0) + 1)
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #report(): void {
    for (const { tier, capacityBytes, usedBytes, keyCount } of this.#state.tierViews()) {
      const labels = this.#labelsOf(tier)
      this.#capacityBytes.set(capacityBytes, labels)
      this.#usedBytes.set(usedBytes, labels)
      this.#tierKeys.set(keyCount, labels)
    }
    for (const [tier, reads] of this.#readsSince) this.#reads.add(reads, this.#labelsOf(tier))
    this.#readsSince.clear()
  }

  #labelsOf(tier: Tier): Labels {
    let labels = this.#labels.get(tier)
    if (labels == null) this.#labels.set(tier, (labels = { tier: tier.name }))
    return labels
  }
}
