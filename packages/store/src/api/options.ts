import type { Slice } from '@mooncake-ts/core'

/** Where and how firmly an object is kept. Names as in the reference system's ReplicateConfig. */
export interface ReplicateConfig {
  /** Whole copies, each on another node; fewer nodes than that give fewer copies. @defaultValue 1 */
  readonly replicaNum?: number
  /**
   * Nodes to use first, or segments (`node/tier`), which count as their node: it takes its fastest tier with room.
   */
  readonly preferredSegments?: readonly string[]
  /** Evicted only when nothing else is left, until its node restarts. @defaultValue false */
  readonly softPin?: boolean
  /**
   * Never evicted, until its node restarts: what an SSD tier finds again has lost its pins.
   *
   * @defaultValue false
   */
  readonly hardPin?: boolean
}

/**
 * Bytes of a value: the caller's own, a Slice of a Region (no copy), or several that are put one after the
 * other.
 */
export type Payload = Uint8Array | Slice | readonly Slice[]

export interface CallOptions {
  readonly signal?: AbortSignal
  /** For the whole call. @defaultValue 10 000 */
  readonly deadlineMs?: number
}

export interface PutOptions extends CallOptions {
  readonly replicate?: ReplicateConfig
  /** Compute a CRC-32C at put and keep it with the object. @defaultValue false */
  readonly checksum?: boolean
}

export interface GetOptions extends CallOptions {
  /** Check the CRC-32C that was kept at put; an object without one fails. @defaultValue false */
  readonly verify?: boolean
}

export interface PutEntry {
  readonly key: string
  readonly value: Payload
}
