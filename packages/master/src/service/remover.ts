import { errorCode, type Logger } from '@mooncake-ts/core'
import type { Membership } from '../membership/membership.js'
import type { NodeRecord } from '../membership/node-record.js'
import { REMOVE_DONE, REMOVE_FAILED } from '../protocol.js'
import type { RouteTable } from '../routes/route-table.js'
import type { DropQueue } from './drop-queue.js'
import { KeyMatcher } from './key-matcher.js'
import type { NodeCaller } from './node-caller.js'
import type { Tombstones } from './tombstones.js'

const ANY_GENERATION = Number.MAX_SAFE_INTEGER

/** What a node said to a RemoveWhere. */
interface NodeAnswer {
  readonly node: NodeRecord
  readonly answer: { readonly removed: number; readonly sequence: number }
}

/** What one node is asked to drop. */
interface Order {
  readonly keys: string[]
  readonly generationsMax: number[]
  /** Of each key in the request. */
  readonly indexes: number[]
}

export interface RemovedMany {
  readonly removed: number
  /** Names of nodes that should have dropped something and did not answer. */
  readonly unreachable: string[]
}

export interface RemoverParts {
  readonly table: RouteTable
  readonly members: Membership
  readonly tombstones: Tombstones
  readonly drops: DropQueue
  readonly caller: NodeCaller
  readonly logger: Logger
}

/**
 * Removes that reach the owners. A route goes when its owner has said that the replica is gone; what a silent
 * node holds gets a tombstone, for the day it comes back. Every order carries the generation that the master
 * knew: a newer one that races with the remove stays. No late report of the node can bring the key back: it
 * answers only after all reports that it sent before have been applied (see `ReplicaFeed.barrier` of the
 * client), and later ones describe what it holds now.
 */
export class Remover {
  readonly #parts: RemoverParts

  constructor(parts: RemoverParts) {
    this.#parts = parts
  }

  /** One REMOVE_… a key. */
  async remove(
    keys: readonly string[],
  ): Promise<{ readonly outcomes: Uint8Array; readonly unreachable: string[] }> {
    const outcomes = new Uint8Array(keys.length)
    // A node that still reports what it holds may hold keys that the master has not heard of. What it
    // has reported by the time it answers is found, and ordered, in the second step.
    const unheard = new Map(this.#syncing().map(node => [node, orderAnyGeneration(keys)]))
    const unreachable = await this.#carryOut(unheard, outcomes)
    unreachable.push(...(await this.#carryOut(this.#ordersFor(keys, outcomes), outcomes)))
    return { outcomes, unreachable: [...new Set(unreachable)] }
  }

  /** @throws ERR_INVALID_PARAMS */
  async removeByRegex(pattern: string): Promise<RemovedMany> {
    const matcher = new KeyMatcher(pattern)
    await this.#matching(matcher) // A pattern that is too slow is refused before a node gets it.
    const { answers, unreachable } = await this.#askAll(this.#syncing(), pattern)
    const keys = await this.#matching(matcher)
    const outcomes = new Uint8Array(keys.length)
    unreachable.push(...(await this.#carryOut(this.#ordersFor(keys, outcomes), outcomes)))
    let removed = 0
    for (const outcome of outcomes) if (outcome === REMOVE_DONE) removed++
    for (const { answer } of answers) removed += answer.removed
    return { removed, unreachable: [...new Set(unreachable)] }
  }

  async removeAll(): Promise<RemovedMany> {
    const absent = new Set<NodeRecord>()
    const asked: NodeRecord[] = []
    for (const node of this.#parts.members.nodes()) {
      if (node.segments.size === 0) continue
      if (node.state === 'HEALTH') asked.push(node)
      else absent.add(node)
    }
    const wasSyncing = new Set(asked.filter(node => node.syncing))
    const { answers, unreachable } = await this.#askAll(asked, undefined)
    const dropped = await this.#dropAll(answers, absent)
    for (const node of absent) if (node.state === 'HEALTH') this.deliverTombstones(node)
    let removed = dropped.keys
    for (const { node, answer } of answers) {
      if (!wasSyncing.has(node)) continue
      removed += Math.max(0, answer.removed - (dropped.replicasOf.get(node.owner) ?? 0))
    }
    return { removed, unreachable }
  }

  /** The node was silent and is back. */
  deliverTombstones(node: NodeRecord): void {
    for (const { key, generationMax } of this.#parts.tombstones.of(node.name)) {
      this.#parts.drops.add(node, key, generationMax)
    }
  }

  /** Routes of nodes that have dropped everything, as far as reported by then, and of absent ones. */
  async #dropAll(
    answers: readonly NodeAnswer[],
    absent: ReadonlySet<NodeRecord>,
  ): Promise<{ readonly keys: number; readonly replicasOf: ReadonlyMap<number, number> }> {
    const { table, members, tombstones } = this.#parts
    const sequences = new Map(answers.map(({ node, answer }) => [node.owner, answer.sequence]))
    const replicasOf = new Map<number, number>()
    let keys = 0
    await table.scan(reference => {
      const generation = table.generationOf(reference)
      const before = table.keyCount
      table.dropReplicas(reference, (segment, stamp) => {
        const owner = table.segments.owner(segment)
        const node = members.segmentByNumber(segment)?.node
        if (node != null && absent.has(node)) tombstones.add(node.name, table.keyOf(reference), generation)
        else if (stamp > (sequences.get(owner) ?? -1)) return false
        replicasOf.set(owner, (replicasOf.get(owner) ?? 0) + 1)
        return true
      })
      keys += before - table.keyCount
    })
    return { keys, replicasOf }
  }

  /** What silent nodes hold is dropped at once. */
  #ordersFor(keys: readonly string[], outcomes: Uint8Array): Map<NodeRecord, Order> {
    const { table, members } = this.#parts
    const orders = new Map<NodeRecord, Order>()
    keys.forEach((key, index) => {
      const route = table.findAll(key)
      if (route == null) return
      const owners = new Set(route.segments.map(segment => members.segmentByNumber(segment)!.node))
      for (const node of owners) {
        if (node.state === 'HEALTH') append(orders, node, key, route.generation, index)
        else this.#bury(node, key, route.generation, outcomes, index)
      }
    })
    return orders
  }

  #bury(node: NodeRecord, key: string, generation: number, outcomes: Uint8Array, index: number): void {
    this.#parts.tombstones.add(node.name, key, generation)
    this.#parts.table.removeOwner(key, node.owner, generation)
    if (outcomes[index] !== REMOVE_FAILED) outcomes[index] = REMOVE_DONE
  }

  /** Gives the names of those who could not be reached. */
  async #carryOut(orders: ReadonlyMap<NodeRecord, Order>, outcomes: Uint8Array): Promise<string[]> {
    const results = await Promise.all(
      [...orders].map(([node, order]) => this.#carryOutOne(node, order, outcomes)),
    )
    return results.filter(name => name != null)
  }

  async #carryOutOne(node: NodeRecord, order: Order, outcomes: Uint8Array): Promise<string | undefined> {
    const { caller, table, logger } = this.#parts
    try {
      const removed = await caller.removeLocal(node, order)
      order.keys.forEach((key, i) => {
        const generationMax = order.generationsMax[i]!
        if (generationMax !== ANY_GENERATION) table.removeOwner(key, node.owner, generationMax)
        const index = order.indexes[i]!
        if (removed[i] === 1 && outcomes[index] !== REMOVE_FAILED) outcomes[index] = REMOVE_DONE
      })
      return undefined
    } catch (error) {
      logger.warn('A node could not be told to remove keys', { node: node.name, code: errorCode(error) })
    }
    const silent = node.state !== 'HEALTH' // It became so while we waited.
    order.keys.forEach((key, i) => {
      if (silent && order.generationsMax[i] !== ANY_GENERATION)
        this.#bury(node, key, order.generationsMax[i]!, outcomes, order.indexes[i]!)
      else outcomes[order.indexes[i]!] = REMOVE_FAILED
    })
    return order.indexes.some(index => outcomes[index] === REMOVE_FAILED) ? node.name : undefined
  }

  async #askAll(
    nodes: readonly NodeRecord[],
    pattern: string | undefined,
  ): Promise<{ readonly answers: NodeAnswer[]; readonly unreachable: string[] }> {
    const answers: NodeAnswer[] = []
    const unreachable: string[] = []
    const ask = async (node: NodeRecord): Promise<void> => {
      try {
        answers.push({ node, answer: await this.#parts.caller.removeWhere(node, pattern) })
      } catch (error) {
        unreachable.push(node.name)
        const fields = { node: node.name, code: errorCode(error) }
        this.#parts.logger.warn('A node could not be told to remove keys', fields)
      }
    }
    await Promise.all(nodes.map(ask))
    return { answers, unreachable }
  }

  async #matching(matcher: KeyMatcher): Promise<string[]> {
    const { table } = this.#parts
    const matching: string[] = []
    const slice: string[] = []
    await table.scan(
      reference => slice.push(table.keyOf(reference)),
      () => {
        for (const key of matcher.filter(slice.splice(0))) matching.push(key)
        return true
      },
    )
    return matching
  }

  #syncing(): NodeRecord[] {
    return [...this.#parts.members.nodes()].filter(node => node.syncing && node.state === 'HEALTH')
  }
}

function orderAnyGeneration(keys: readonly string[]): Order {
  return {
    keys: [...keys],
    generationsMax: keys.map(() => ANY_GENERATION),
    indexes: keys.map((_key, index) => index),
  }
}

function append(
  orders: Map<NodeRecord, Order>,
  node: NodeRecord,
  key: string,
  generation: number,
  index: number,
): void {
  let order = orders.get(node)
  if (order == null) {
    order = { keys: [], generationsMax: [], indexes: [] }
    orders.set(node, order)
  }
  order.keys.push(key)
  order.generationsMax.push(generation)
  order.indexes.push(index)
}
