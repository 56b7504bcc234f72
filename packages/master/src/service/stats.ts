import { formatBytes } from '@mooncake-ts/core'
import type { Membership } from '../membership/membership.js'
import type { RouteTable } from '../routes/route-table.js'
import type { Tombstones } from './tombstones.js'

export interface MasterStats {
  /** Of healthy nodes, in all segments. */
  readonly usedBytes: number
  /** Of healthy nodes, of all segments. */
  readonly capacityBytes: number
  /** What of `usedBytes` lies on disks. */
  readonly diskUsedBytes: number
  /** What of `capacityBytes` are disks. */
  readonly diskCapacityBytes: number
  readonly keyCount: number
  readonly healthyNodes: number
  readonly disconnectedNodes: number
  readonly tombstones: number
  readonly tombstonesEvicted: number
}

/** The kind of segments that are files; all others count as memory. */
const DISK = 'STORAGE'

export function collectStats(members: Membership, table: RouteTable, tombstones: Tombstones): MasterStats {
  let usedBytes = 0
  let capacityBytes = 0
  let diskUsedBytes = 0
  let diskCapacityBytes = 0
  let healthyNodes = 0
  for (const node of members.nodes()) {
    if (node.state !== 'HEALTH') continue
    healthyNodes++
    usedBytes += node.usage.usedBytes
    capacityBytes += node.usage.capacityBytes
    for (const { info } of node.segments.values()) {
      if (info.kind !== DISK) continue
      diskUsedBytes += info.usedBytes
      diskCapacityBytes += info.capacityBytes
    }
  }
  return {
    usedBytes,
    capacityBytes,
    diskUsedBytes,
    diskCapacityBytes,
    keyCount: table.keyCount,
    healthyNodes,
    disconnectedNodes: members.size - healthyNodes,
    tombstones: tombstones.size,
    tombstonesEvicted: tombstones.evicted,
  }
}

/**
 * `Master Metrics: Storage: 1.20 GiB / 4.00 GiB (30.0%), disks 3.00 GiB / 64.0 GiB (4.7%) | Keys: 12345 | Clients: 2 |
 * Requests: 12.0/s (ping 2.0/s …)`; without disks it does not name them.
 */
export function summaryLine(
  stats: MasterStats,
  counts: ReadonlyMap<string, number>,
  intervalMs: number,
): string {
  const { diskUsedBytes, diskCapacityBytes, keyCount, healthyNodes, disconnectedNodes } = stats
  const memory = share(stats.usedBytes - diskUsedBytes, stats.capacityBytes - diskCapacityBytes)
  const disks = diskCapacityBytes === 0 ? '' : `, disks ${share(diskUsedBytes, diskCapacityBytes)}`
  const perSecond = (count: number): string => `${((count * 1000) / Math.max(1, intervalMs)).toFixed(1)}/s`
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const ops = [...counts].map(([op, count]) => `${op} ${perSecond(count)}`).join(', ')
  return [
    `Master Metrics: Storage: ${memory}${disks}`,
    `Keys: ${keyCount}`,
    `Clients: ${healthyNodes}${disconnectedNodes === 0 ? '' : ` (+${disconnectedNodes} disconnected)`}`,
    `Requests: ${perSecond(total)}${ops === '' ? '' : ` (${ops})`}`,
  ].join(' | ')
}

function share(usedBytes: number, capacityBytes: number): string {
  const percent = capacityBytes === 0 ? 0 : (100 * usedBytes) / capacityBytes
  return `${formatBytes(usedBytes)} / ${formatBytes(capacityBytes)} (${percent.toFixed(1)}%)`
}
