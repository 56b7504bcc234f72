import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import type { Histogram, Metrics } from '@mooncake-ts/core'
import type { MasterStats } from '../service/stats.js'

const NANOSECONDS = 1e9
const KIB = 1024
const SIZE_BUCKETS = Array.from({ length: 10 }, (_, i) => 4 * KIB * 4 ** i) // 4 KiB … 1 GiB

/** What is measured when somebody asks. */
export class MasterGauges {
  readonly valueSize: Histogram
  readonly #eventLoopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: 10 })

  constructor(metrics: Metrics, stats: () => MasterStats) {
    const gauge = (name: string, help: string, collect: () => number): void => {
      metrics.gauge({ name, help, collect })
    }
    gauge('master_allocated_bytes', 'Bytes in use in memory', () => {
      const { usedBytes, diskUsedBytes } = stats()
      return usedBytes - diskUsedBytes
    })
    gauge('master_total_capacity_bytes', 'Capacity of memory', () => {
      const { capacityBytes, diskCapacityBytes } = stats()
      return capacityBytes - diskCapacityBytes
    })
    gauge('master_allocated_file_size_bytes', 'Bytes in use on disks', () => stats().diskUsedBytes)
    gauge('master_total_file_capacity_bytes', 'Capacity of disks', () => stats().diskCapacityBytes)
    gauge('master_key_count', 'Keys in the directory', () => stats().keyCount)
    gauge('master_active_clients', 'Nodes that beat', () => stats().healthyNodes)
    gauge('master_disconnected_clients', 'Nodes that are silent', () => stats().disconnectedNodes)
    gauge('master_tombstones', 'Removed keys that a silent node may hold', () => stats().tombstones)
    gauge(
      'master_tombstones_evicted',
      'Tombstones that went before their time',
      () => stats().tombstonesEvicted,
    )
    gauge('master_resident_memory_bytes', 'Memory of the process', () => process.memoryUsage.rss())
    gauge('master_event_loop_lag_seconds', '99th percentile since the last scrape', () => this.#lagSeconds())
    this.valueSize = metrics.histogram({
      name: 'master_value_size_bytes',
      help: 'Sizes of reported replicas',
      buckets: SIZE_BUCKETS,
    })
  }

  start(): void {
    this.#eventLoopDelay.enable()
  }

  stop(): void {
    this.#eventLoopDelay.disable()
  }

  #lagSeconds(): number {
    const lag = this.#eventLoopDelay.percentile(99) / NANOSECONDS
    this.#eventLoopDelay.reset()
    return lag
  }
}
