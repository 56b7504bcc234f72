import type { WriteRouteRequest } from '@mooncake-ts/core'
import type { NodeRecord } from '../membership/node-record.js'
import type { Membership } from '../membership/membership.js'

export interface WriteRouterOptions {
  /** Weight of other nodes; the caller's own has 1 − remoteWeight. @defaultValue 0.5: no difference */
  readonly remoteWeight?: number
  /** At least 0, below 1. @defaultValue Math.random */
  readonly random?: () => number
}

export interface Candidate {
  readonly node: NodeRecord
  /** What is free now; eviction makes more. Never negative. */
  readonly availableBytes: number
  readonly score: number
}

/**
 * Where to write next. Score = free ratio × weight, as in the reference system. A place in the answer goes to
 * the better of two nodes drawn at random: equal nodes share the load, better ones get more, and yet no node,
 * be it new and empty, gets more than two shares of it. Strict ranking would send everything to one node
 * until the next heartbeat.
 */
export class WriteRouter {
  readonly #members: Membership
  readonly #remoteWeight: number
  readonly #random: () => number

  constructor(members: Membership, { remoteWeight = 0.5, random = Math.random }: WriteRouterOptions = {}) {
    this.#members = members
    this.#remoteWeight = remoteWeight
    this.#random = random
  }

  /** Candidates for one write, best first. */
  route(request: WriteRouteRequest, callerId: string | undefined): Candidate[] {
    const able = [...this.#members.nodes()].filter(node => canHold(node, request.byteLength))
    const chosen: Candidate[] = []
    for (const node of this.#preferred(request.preferredSegments)) {
      const index = able.indexOf(node)
      if (index < 0 || chosen.length === request.candidatesMax) continue
      chosen.push(this.#candidate(take(able, index), callerId))
    }
    while (chosen.length < request.candidatesMax && able.length > 0) {
      chosen.push(this.#betterOfTwo(able, callerId))
    }
    return chosen
  }

  /**
   * Counts the bytes against the first candidate, who will most likely get them, until its next heartbeat.
   */
  book(candidates: readonly Candidate[], byteLength: number): void {
    if (candidates[0] != null) candidates[0].node.pendingBytes += byteLength
  }

  #preferred(names: readonly string[]): Set<NodeRecord> {
    const nodes = new Set<NodeRecord>()
    for (const name of names) {
      const node = this.#members.byName(name) ?? this.#members.segmentByName(name)?.node
      if (node != null) nodes.add(node)
    }
    return nodes
  }

  #betterOfTwo(able: NodeRecord[], callerId: string | undefined): Candidate {
    const one = this.#draw(able, callerId)
    if (able.length === 0) return one
    const other = this.#draw(able, callerId)
    const [winner, loser] = other.score > one.score ? [other, one] : [one, other]
    able.push(loser.node)
    return winner
  }

  #draw(able: NodeRecord[], callerId: string | undefined): Candidate {
    return this.#candidate(take(able, Math.floor(this.#random() * able.length)), callerId)
  }

  #candidate(node: NodeRecord, callerId: string | undefined): Candidate {
    const { capacityBytes, usedBytes } = node.usage
    const free = capacityBytes - usedBytes - node.pendingBytes
    const weight = node.nodeId === callerId ? 1 - this.#remoteWeight : this.#remoteWeight
    // Overbooked nodes stay below those with space whatever their weight, and rank by how much they are
    // overbooked.
    const ratio = free / capacityBytes
    return { node, availableBytes: Math.max(0, free), score: ratio > 0 ? ratio * weight : ratio }
  }
}

/** Capacity must fit, free space need not: eviction makes room. */
function canHold(node: NodeRecord, byteLength: number): boolean {
  const { largestSegmentBytes } = node.usage
  if (node.state !== 'HEALTH' || node.rpcEndpoint == null) return false
  return largestSegmentBytes > 0 && largestSegmentBytes >= byteLength
}

/** Removes without keeping the order. */
function take(nodes: NodeRecord[], index: number): NodeRecord {
  const node = nodes[index]!
  const last = nodes.pop()!
  if (index < nodes.length) nodes[index] = last
  return node
}
