import { MooncakeError, type GenerationClock, type Histogram, type ReplicaAddResult } from '@mooncake-ts/core'
import type { Membership } from '../membership/membership.js'
import type { NodeRecord } from '../membership/node-record.js'
import { ADD_EXCEEDED, ADD_OK, ADD_STALE, type SyncReplicasMessage } from '../protocol.js'
import type { RouteTable, Superseded } from '../routes/route-table.js'
import type { DropQueue } from './drop-queue.js'
import type { Tombstones } from './tombstones.js'

const RESULTS: Readonly<Record<ReplicaAddResult, number>> = {
  ok: ADD_OK,
  stale: ADD_STALE,
  exceeded: ADD_EXCEEDED,
}

/**
 * Applies what nodes report about their replicas. A call is applied in one go and the calls of a node in
 * their order: its client sends one at a time with a growing number, and one that was overtaken by its own
 * retry is refused here. So the last word of a node about a key is what the table holds.
 */
export class ReplicaSync {
  readonly #table: RouteTable
  readonly #members: Membership
  readonly #tombstones: Tombstones
  readonly #generations: GenerationClock
  readonly #drops: DropQueue
  readonly #valueSize: Histogram

  constructor(parts: {
    readonly table: RouteTable
    readonly members: Membership
    readonly tombstones: Tombstones
    readonly generations: GenerationClock
    readonly drops: DropQueue
    readonly valueSize: Histogram
  }) {
    this.#table = parts.table
    this.#members = parts.members
    this.#tombstones = parts.tombstones
    this.#generations = parts.generations
    this.#drops = parts.drops
    this.#valueSize = parts.valueSize
  }

  /** @throws ERR_CLIENT_NOT_FOUND, ERR_SEGMENT_NOT_FOUND, ERR_INVALID_PARAMS; nothing was applied then */
  apply(message: SyncReplicasMessage): Uint8Array {
    const node = this.#members.require(message.nodeId, message.epoch)
    assertColumns(message)
    if (message.sequence <= node.lastSequence) {
      throw new MooncakeError('ERR_INVALID_PARAMS', 'A later SyncReplicas of this node was applied already')
    }
    const segments = message.segments.map(name => numberOf(node, name))
    const results = this.#add(node, message, segments)
    const { keys, generations, segments: indexes } = message.removes
    for (let i = 0; i < keys.length; i++) {
      this.#table.remove(keys[i]!, segments[indexes[i]!]!, generations[i]!)
    }
    node.lastSequence = message.sequence
    return results
  }

  #add(node: NodeRecord, message: SyncReplicasMessage, segments: readonly number[]): Uint8Array {
    const { keys, byteLengths, generations, segments: indexes, ifAbsent } = message.adds
    const results = new Uint8Array(keys.length)
    const superseded: Superseded[] = []
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!
      const generation = generations[i]!
      this.#generations.observe(generation) // Written while no master was there to number it.
      if (this.#tombstones.size > 0 && this.#tombstones.covers(node.name, key, generation)) {
        results[i] = ADD_STALE
        continue
      }
      const byteLength = byteLengths[i]!
      const replica = {
        byteLength,
        generation,
        segment: segments[indexes[i]!]!,
        ifAbsent: ifAbsent != null && ifAbsent[i] !== 0,
      }
      const result = this.#table.add(key, replica, message.sequence, superseded)
      results[i] = RESULTS[result]
      if (result === 'ok') this.#valueSize.observe(byteLength)
    }
    this.#dropSuperseded(node, superseded)
    return results
  }

  /** The node that reported the newer generation knows about its own older one. */
  #dropSuperseded(reporter: NodeRecord, superseded: readonly Superseded[]): void {
    for (const { key, segment, generation } of superseded) {
      const owner = this.#members.segmentByNumber(segment)?.node
      if (owner == null || owner === reporter) continue
      if (owner.state === 'HEALTH') this.#drops.add(owner, key, generation)
      else this.#tombstones.add(owner.name, key, generation)
    }
  }
}

/** Also checks the indexes, so that a malformed message changes nothing. */
function assertColumns({ segments, adds, removes }: SyncReplicasMessage): void {
  const lengths = [adds.byteLengths, adds.generations, adds.segments].map(column => column.length)
  const even =
    lengths.every(length => length === adds.keys.length) &&
    (adds.ifAbsent ?? adds.keys).length === adds.keys.length &&
    removes.generations.length === removes.keys.length &&
    removes.segments.length === removes.keys.length
  const named = (index: number): boolean => Number.isInteger(index) && index >= 0 && index < segments.length
  if (even && adds.segments.every(named) && removes.segments.every(named)) return
  throw new MooncakeError('ERR_INVALID_PARAMS', 'The columns of SyncReplicas do not fit together')
}

function numberOf(node: NodeRecord, segmentName: string): number {
  const segment = node.segments.get(segmentName)
  if (segment != null) return segment.number
  throw new MooncakeError('ERR_SEGMENT_NOT_FOUND', `Node ${node.name} has no segment ${segmentName}`)
}
