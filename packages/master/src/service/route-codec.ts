import type { ReadRoute, ReplicaRoute } from '@mooncake-ts/core'
import type { Membership } from '../membership/membership.js'
import type { SegmentRecord } from '../membership/node-record.js'
import type { RoutesMessage } from '../protocol.js'
import type { RouteEntry } from '../routes/route-table.js'

/** Builds a `Routes` message: every segment is described once, rows name it by index. */
export class RoutesEncoder {
  readonly #members: Membership
  readonly #indexes = new Map<SegmentRecord, number>()
  readonly #message: RoutesMessage = { replicas: [], rows: [] }

  constructor(members: Membership) {
    this.#members = members
  }

  get message(): RoutesMessage {
    return this.#message
  }

  /** Fast tiers first. False where nobody has the key. */
  push(entry: RouteEntry | undefined): boolean {
    const row = entry == null ? undefined : this.#row(entry)
    this.#message.rows.push(row ?? null)
    return row != null
  }

  #row({ byteLength, generation, segments }: RouteEntry): number[] {
    const records = segments.map(number => this.#members.segmentByNumber(number)!)
    if (records.length > 1) records.sort((a, b) => b.info.priority - a.info.priority)
    return [byteLength, generation, ...records.map(record => this.#indexOf(record))]
  }

  #indexOf(segment: SegmentRecord): number {
    const known = this.#indexes.get(segment)
    if (known != null) return known
    const index = this.#message.replicas.push(replicaOf(segment)) - 1
    this.#indexes.set(segment, index)
    return index
  }
}

/** Segments belong to nodes with an endpoint only; registration sees to it. */
export function replicaOf({ node, info }: SegmentRecord): ReplicaRoute {
  return { nodeId: node.nodeId, rpcEndpoint: node.rpcEndpoint ?? '', segment: info.name }
}

/** What a `Routes` message says, row by row. */
export function decodeRoutes({ replicas, rows }: RoutesMessage): Array<ReadRoute | undefined> {
  return rows.map(row => {
    if (row == null) return undefined
    const [byteLength = 0, generation = 0, ...indexes] = row
    return {
      byteLength,
      generation,
      replicas: indexes.map(index => replicas[index]).filter(replica => replica != null),
    }
  })
}
