import { randomInt } from 'node:crypto'
import { MooncakeError, type Clock, type NodeInfo, type SegmentInfo } from '@mooncake-ts/core'
import { DEAD, HIDDEN, VISIBLE, type SegmentIndex } from '../routes/segment-index.js'
import { usageOf, type NodeRecord, type NodeState, type SegmentRecord } from './node-record.js'

export interface MembershipOptions {
  /** Silence after which a node counts as disconnected, since its last heartbeat. */
  readonly clientTtlMs: number
  /** Silence after which it counts as crashed, since its last heartbeat. */
  readonly clientCrashedTtlMs: number
}

export interface MembershipListener {
  /** `from` is undefined for a new life. */
  onState(node: NodeRecord, from: NodeState | undefined, reason: string): void
}

/**
 * Process ids whose name another process has taken; remembered so that the two do not take it from each other
 * forever.
 */
const REPLACED_MAX = 1024

/**
 * Who is alive. States follow the heartbeats: HEALTH → DISCONNECTION → CRASHED, and back to HEALTH from the
 * second.
 */
export class Membership {
  readonly #nodes = new Map<string, NodeRecord>()
  readonly #byName = new Map<string, NodeRecord>()
  readonly #segmentsByName = new Map<string, SegmentRecord>()
  /** By number in the route table. */
  readonly #segments: Array<SegmentRecord | undefined> = []
  readonly #replaced = new Set<string>()
  readonly #clock: Clock
  readonly #index: SegmentIndex
  readonly #options: MembershipOptions
  readonly #listener: MembershipListener
  #lastCheckMs: number
  #owners = 0

  constructor(clock: Clock, index: SegmentIndex, options: MembershipOptions, listener: MembershipListener) {
    this.#clock = clock
    this.#index = index
    this.#options = options
    this.#listener = listener
    this.#lastCheckMs = clock.nowMs()
  }

  get size(): number {
    return this.#nodes.size
  }

  nodes(): IterableIterator<NodeRecord> {
    return this.#nodes.values()
  }

  byName(name: string): NodeRecord | undefined {
    return this.#byName.get(name)
  }

  byId(nodeId: string): NodeRecord | undefined {
    return this.#nodes.get(nodeId)
  }

  segmentByName(name: string): SegmentRecord | undefined {
    return this.#segmentsByName.get(name)
  }

  segments(): IterableIterator<SegmentRecord> {
    return this.#segmentsByName.values()
  }

  /** Of a replica in the route table; undefined where the segment is dead. */
  segmentByNumber(number: number): SegmentRecord | undefined {
    return this.#segments[number]
  }

  /**
   * A new life. What another life of the same name held is dropped at once.
   * @throws ERR_INVALID_PARAMS
   */
  register(info: NodeInfo): NodeRecord {
    this.#assertMayRegister(info)
    for (const former of new Set([this.#byName.get(info.name), this.#nodes.get(info.nodeId)])) {
      if (former == null) continue
      if (former.nodeId !== info.nodeId) this.#rememberReplaced(former.nodeId)
      this.#forget(former, 'it registered again')
    }
    const node: NodeRecord = {
      nodeId: info.nodeId,
      name: info.name,
      epoch: randomInt(2 ** 47),
      owner: ++this.#owners,
      rpcEndpoint: info.rpcEndpoint,
      segments: new Map(),
      usage: usageOf([]),
      state: 'HEALTH',
      lastBeatMs: this.#clock.nowMs(),
      syncing: info.segments.length > 0,
      lastSequence: 0,
      pendingBytes: 0,
    }
    this.#nodes.set(node.nodeId, node)
    this.#byName.set(node.name, node)
    this.#updateSegments(node, info.segments)
    this.#listener.onState(node, undefined, 'it registered')
    return node
  }

  /** @throws ERR_CLIENT_NOT_FOUND for a life that is over */
  beat(nodeId: string, epoch: number, segments: readonly SegmentInfo[]): void {
    const node = this.require(nodeId, epoch)
    node.lastBeatMs = this.#clock.nowMs()
    node.pendingBytes = 0
    this.#updateSegments(node, segments)
    if (node.state !== 'HEALTH') this.#change(node, 'HEALTH', 'it beats again')
  }

  unregister(nodeId: string, epoch: number): void {
    this.#forget(this.require(nodeId, epoch), 'it left')
  }

  /** @throws ERR_CLIENT_NOT_FOUND */
  require(nodeId: string, epoch: number): NodeRecord {
    const node = this.#nodes.get(nodeId)
    if (node?.epoch === epoch) return node
    throw new MooncakeError('ERR_CLIENT_NOT_FOUND', `The master does not know this life of node ${nodeId}`)
  }

  /** To be called about once a second. */
  check(intervalMs: number): void {
    const nowMs = this.#clock.nowMs()
    // When the master itself slept (a paused machine, a blocked event loop), the heartbeats of that time wait
    // in its sockets: nobody is to blame for them.
    const sleptMs = nowMs - this.#lastCheckMs - intervalMs
    this.#lastCheckMs = nowMs
    for (const node of [...this.#nodes.values()]) {
      if (sleptMs > intervalMs) node.lastBeatMs += sleptMs
      const silentMs = nowMs - node.lastBeatMs
      if (silentMs >= this.#options.clientCrashedTtlMs) {
        this.#forget(node, `it was silent for ${Math.round(silentMs)} ms`)
      } else if (silentMs >= this.#options.clientTtlMs && node.state === 'HEALTH') {
        this.#change(node, 'DISCONNECTION', `it was silent for ${Math.round(silentMs)} ms`)
      }
    }
  }

  #assertMayRegister(info: NodeInfo): void {
    if (this.#replaced.has(info.nodeId) && this.#byName.has(info.name)) {
      throw new MooncakeError('ERR_INVALID_PARAMS', `Another process has taken the node name ${info.name}`)
    }
    if (info.segments.length > 0 && info.rpcEndpoint == null) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        `${info.name} has segments and no rpcEndpoint to reach them`,
      )
    }
    for (const { name } of info.segments) this.#assertNameFree(info.name, name)
  }

  #assertNameFree(nodeName: string, segmentName: string): void {
    const holder = this.#segmentsByName.get(segmentName)?.node
    if (holder == null || holder.name === nodeName) return
    throw new MooncakeError(
      'ERR_INVALID_PARAMS',
      `Segment name ${segmentName} belongs to node ${holder.name}`,
    )
  }

  #updateSegments(node: NodeRecord, infos: readonly SegmentInfo[]): void {
    for (const info of infos) {
      const known = node.segments.get(info.name)
      if (known != null) {
        known.info = info
        continue
      }
      this.#assertNameFree(node.name, info.name)
      const segment: SegmentRecord = { number: this.#index.allocate(node.owner), node, info }
      node.segments.set(info.name, segment)
      this.#segments[segment.number] = segment
      this.#segmentsByName.set(info.name, segment)
    }
    if (node.segments.size > infos.length) {
      const names = new Set(infos.map(info => info.name))
      const gone = [...node.segments.values()].filter(segment => !names.has(segment.info.name))
      for (const segment of gone) this.#dropSegment(segment)
    }
    node.usage = usageOf(node.segments.values())
  }

  #dropSegment(segment: SegmentRecord): void {
    segment.node.segments.delete(segment.info.name)
    this.#segmentsByName.delete(segment.info.name)
    this.#segments[segment.number] = undefined
    this.#index.setState(segment.number, DEAD)
  }

  #forget(node: NodeRecord, reason: string): void {
    this.#nodes.delete(node.nodeId)
    this.#byName.delete(node.name)
    for (const segment of [...node.segments.values()]) this.#dropSegment(segment)
    this.#change(node, 'CRASHED', reason)
  }

  #change(node: NodeRecord, state: NodeState, reason: string): void {
    const from = node.state
    node.state = state
    for (const { number } of node.segments.values()) {
      this.#index.setState(number, state === 'HEALTH' ? VISIBLE : HIDDEN)
    }
    this.#listener.onState(node, from, reason)
  }

  #rememberReplaced(nodeId: string): void {
    this.#replaced.add(nodeId)
    if (this.#replaced.size <= REPLACED_MAX) return
    const [oldest] = this.#replaced
    this.#replaced.delete(oldest!)
  }
}
