import { hasCode, type Clock } from '@mooncake-ts/core'

/** Longer than the pauses between attempts to connect, so that most calls do not meet them. */
const SUSPECT_MS = 5000

/** Failures of the node and not of what was asked of it. */
const OF_NODE = ['ERR_RPC_FAIL', 'ERR_RPC_TIMEOUT', 'ERR_TRANSFER_FAIL', 'ERR_SHUTTING_DOWN'] as const

/**
 * Nodes that did not answer lately. The directory notices after seconds; until then they are asked last,
 * because each would cost a call a good part of its deadline.
 */
export class Suspects {
  readonly #untilMs = new Map<string, number>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  answered(nodeId: string): void {
    this.#untilMs.delete(nodeId)
  }

  /** Takes note of why a call to the node failed. */
  failed(nodeId: string, error: unknown): void {
    if (!OF_NODE.some(code => hasCode(error, code))) return
    const nowMs = this.#clock.nowMs()
    for (const [other, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(other)
    this.#untilMs.set(nodeId, nowMs + SUSPECT_MS)
  }

  has(nodeId: string): boolean {
    return this.#untilMs.size > 0 && (this.#untilMs.get(nodeId) ?? 0) > this.#clock.nowMs()
  }

  /** The same ones, those under suspicion last. */
  last<T extends { readonly nodeId: string }>(nodes: readonly T[]): T[] {
    if (this.#untilMs.size === 0) return [...nodes]
    return [...nodes.filter(node => !this.has(node.nodeId)), ...nodes.filter(node => this.has(node.nodeId))]
  }
}
