import type { Counter, Metrics } from '@mooncake-ts/core'

/** Operations that come in batches; the names are the reference system's. */
const BATCH_OPS = [
  'exist_key',
  'get_replica_list',
  'get_write_route',
  'add_replica',
  'remove_replica',
  'remove',
] as const
const SINGLE_OPS = [
  'remove_by_regex',
  'remove_all',
  'register_client',
  'unregister_client',
  'ping',
  'sync_completed',
  'report_stale',
  'list_keys',
] as const

/** Segments come and go with their node: each is counted, but the request is the node's. */
const SEGMENT_OPS = ['mount_segment', 'unmount_segment'] as const

export type SegmentOp = (typeof SEGMENT_OPS)[number]
export type BatchOp = (typeof BATCH_OPS)[number]
export type Op = BatchOp | (typeof SINGLE_OPS)[number]

interface SingleCounters {
  readonly requests: Counter
  readonly failures: Counter
}

interface BatchCounters extends SingleCounters {
  readonly partialSuccesses: Counter
  readonly items: Counter
  readonly failedItems: Counter
}

/**
 * Requests and failures of every operation. A batch of one counts as a single request: that is what its
 * caller made.
 */
export class OpMetrics {
  readonly #single = new Map<Op, SingleCounters>()
  readonly #batch = new Map<BatchOp, BatchCounters>()
  readonly #segments = new Map<SegmentOp, SingleCounters>()
  readonly #recent = new Map<string, number>()

  constructor(metrics: Metrics) {
    const counter = (name: string, help: string): Counter => metrics.counter({ name: `master_${name}`, help })
    const single = (op: string): SingleCounters => ({
      requests: counter(`${op}_requests_total`, `${op} requests`),
      failures: counter(`${op}_failures_total`, `${op} requests that failed`),
    })
    for (const op of [...BATCH_OPS, ...SINGLE_OPS]) this.#single.set(op, single(op))
    for (const op of SEGMENT_OPS) this.#segments.set(op, single(op))
    for (const op of BATCH_OPS) {
      this.#batch.set(op, {
        requests: counter(`batch_${op}_requests_total`, `${op} requests of several keys`),
        failures: counter(`batch_${op}_failures_total`, `${op} batches that failed as a whole`),
        partialSuccesses: counter(
          `batch_${op}_partial_successes_total`,
          `${op} batches of which some keys failed`,
        ),
        items: counter(`batch_${op}_items_total`, `Keys in ${op} batches`),
        failedItems: counter(`batch_${op}_failed_items_total`, `Keys in ${op} batches that failed`),
      })
    }
  }

  single(op: Op, failed: boolean): void {
    this.#count(op)
    const counters = this.#single.get(op)!
    counters.requests.add()
    if (failed) counters.failures.add()
  }

  batch(op: BatchOp, items: number, failedItems: number): void {
    if (items === 0) return
    if (items === 1) {
      this.single(op, failedItems > 0)
      return
    }
    this.#count(op)
    const counters = this.#batch.get(op)!
    counters.requests.add()
    counters.items.add(items)
    if (failedItems === 0) return
    counters.failedItems.add(failedItems)
    if (failedItems === items) counters.failures.add()
    else counters.partialSuccesses.add()
  }

  segments(op: SegmentOp, count: number, failed: boolean): void {
    const counters = this.#segments.get(op)!
    counters.requests.add(count)
    if (failed) counters.failures.add(count)
  }

  /** Requests since the last reset, by operation. */
  counts(): ReadonlyMap<string, number> {
    return this.#recent
  }

  resetCounts(): void {
    this.#recent.clear()
  }

  #count(op: string): void {
    this.#recent.set(op, (this.#recent.get(op) ?? 0) + 1)
  }
}
