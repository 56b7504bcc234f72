import type { SegmentInfo } from '@mooncake-ts/core'

/** HEALTH: beats. DISCONNECTION: silent, its routes are kept and not served. CRASHED: forgotten. */
export type NodeState = 'HEALTH' | 'DISCONNECTION' | 'CRASHED'

export interface SegmentRecord {
  /** In the route table. */
  readonly number: number
  readonly node: NodeRecord
  info: SegmentInfo
}

/** One life of a node: from a registration until it leaves, crashes or registers again. */
export interface NodeRecord {
  readonly nodeId: string
  readonly name: string
  /** Random; what carries another one comes from an earlier life. */
  readonly epoch: number
  /** Number of this life, never used again; the owner of its segments in the route table. */
  readonly owner: number
  /** Absent for a pure client, which the master cannot call. */
  readonly rpcEndpoint: string | undefined
  /** By name. */
  readonly segments: Map<string, SegmentRecord>
  usage: NodeUsage
  state: NodeState
  lastBeatMs: number
  /** It has not told yet all that it holds. */
  syncing: boolean
  /** Of its last SyncReplicas. */
  lastSequence: number
  /** Routed to it since its last heartbeat, which did not count them yet. */
  pendingBytes: number
}

/** Sums over the node's segments, kept up to date because write routes ask for them all the time. */
export interface NodeUsage {
  readonly capacityBytes: number
  readonly usedBytes: number
  readonly largestSegmentBytes: number
}

export function usageOf(segments: Iterable<SegmentRecord>): NodeUsage {
  let capacityBytes = 0
  let usedBytes = 0
  let largestSegmentBytes = 0
  for (const { info } of segments) {
    capacityBytes += info.capacityBytes
    usedBytes += info.usedBytes
    largestSegmentBytes = Math.max(largestSegmentBytes, info.capacityBytes)
  }
  return { capacityBytes, usedBytes, largestSegmentBytes }
}
