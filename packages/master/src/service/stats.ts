import { formatBytes } from '@mooncake-ts/core'
import type { Membership } from '../membership/membership.js'
import type { RouteTable } from '../routes/route-table.js'
import type { Tombstones } from './tombstones.js'

export interface MasterStats {
  /** Of healthy nodes. */
  readonly usedBytes: number
  /** Of healthy nodes. */
  readonly capacityBytes: number
  readonly keyCount: number
  readonly healthyNodes: number
  readonly disconnectedNodes: number
  readonly tombstones: number
  readonly tombstonesEvicted: number
}

export function collectStats(members: Membership, table: RouteTable, tombstones: Tombstones): MasterStats {
  let usedBytes = 0
  let capacityBytes = 0
  let healthyNodes = 0
  for (const node of members.nodes()) {
    if (node.state !== 'HEALTH') continue
    healthyNodes++
    usedBytes += node.usage.usedBytes
    capacityBytes += node.usage.capacityBytes
  }
  return {
    usedBytes,
    capacityBytes,
    keyCount: table.keyCount,
    healthyNodes,
    disconnectedNodes: members.size - healthyNodes,
    tombstones: tombstones.size,
    tombstonesEvicted: tombstones.evicted,
  }
}

/**
 * `Master Metrics: Storage: 1.20 GiB / 4.00 GiB (30.0%) | Keys: 12345 | Clients: 2 | Requests: 12.0/s (ping 2.0/s
 * …)`
 */
export function summaryLine(
  stats: MasterStats,
  counts: ReadonlyMap<string, number>,
  intervalMs: number,
): string {
  const { usedBytes, capacityBytes, keyCount, healthyNodes, disconnectedNodes } = stats
  const percent = capacityBytes === 0 ? 0 : (100 * usedBytes) / capacityBytes
  const perSecond = (count: number): string => `${((count * 1000) / Math.max(1, intervalMs)).toFixed(1)}/s`
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const ops = [...counts].map(([op, count]) => `${op} ${perSecond(count)}`).join(', ')
  return [
    `Master Metrics: Storage: ${formatBytes(usedBytes)} / ${formatBytes(capacityBytes)} (${percent.toFixed(1)}%)`,
    `Keys: ${keyCount}`,
    `Clients: ${healthyNodes}${disconnectedNodes === 0 ? '' : ` (+${disconnectedNodes} disconnected)`}`,
    `Requests: ${perSecond(total)}${ops === '' ? '' : ` (${ops})`}`,
  ].join(' | ')
}
