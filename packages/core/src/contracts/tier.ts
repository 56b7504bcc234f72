import type { Slice } from './memory.js'
import type { CompletionStream } from './transfer.js'

/** A place in a tier, from `allocate` until `free`. Its owner is the engine, which counts the holders. */
export interface TierAllocation {
  readonly id: number
  readonly byteLength: number
  /** What it takes of the capacity, where that is not `byteLength`: tiers round up to their blocks. */
  readonly takenBytes?: number
  /** Set by tiers with `directMemory`: the place itself, for transports and copies. */
  readonly slice?: Slice
}

/** What a tier has to remember of an object beside its bytes, to be able to give it back after a restart. */
export interface ObjectIdentity {
  readonly key: string
  readonly generation: number
  readonly byteLength: number
  /** CRC-32C of the bytes, where it was asked for. */
  readonly checksum?: number
}

export interface TierReadOp {
  readonly allocation: TierAllocation
  /** First byte of the object to read. */
  readonly offset: number
  readonly into: Slice
}

export interface TierWriteOp {
  readonly allocation: TierAllocation
  readonly from: Slice
}

export interface TierSupports {
  /** Allocations carry a `slice`: bytes are moved straight into and out of them. */
  readonly directMemory: boolean
  /** `recover` finds committed objects again after a restart. */
  readonly persistence: boolean
  /** Reads may start anywhere and be shorter than the object. */
  readonly partialRead: boolean
}

/** A place for replicas in one node, with a hard capacity. */
export interface Tier {
  /** Unique within the node, e.g. `dram-0`; with the node's name it names the segment. */
  readonly name: string
  /** Short kind for people and metrics: `DRAM`, `STORAGE`, … */
  readonly kind: string
  readonly supports: TierSupports
  /** Higher is faster; writes go to the fastest tier that has room. */
  readonly priority: number
  readonly tags: readonly string[]
  readonly capacityBytes: number
  readonly usedBytes: number
  /**
   * Synchronous, O(1), no I/O. Undefined when nothing fits. Zero bytes are allowed and take nothing.
   * @throws RangeError for a length that is not a non-negative safe integer
   */
  allocate(byteLength: number): TierAllocation | undefined
  /**
   * The last holder let go. Called exactly once for each allocation, never while an operation on it is in
   * flight. A tier that needs time to take the space back says when it has: puts that wait for space are
   * tried again then.
   */
  free(allocation: TierAllocation): void | Promise<void>
  /**
   * Post the batch when subscribed to. One completion per operation, in any order; an operation that fails
   * (also one that leaves its object or its region) is a completion with an error. On abort nothing new is
   * posted, and the stream ends at rest.
   */
  write(batch: readonly TierWriteOp[], options: { readonly signal: AbortSignal }): CompletionStream
  read(batch: readonly TierReadOp[], options: { readonly signal: AbortSignal }): CompletionStream
  /** The object is whole and has a name now. Settles when it is as durable as the tier promises. */
  commit?(allocation: TierAllocation, identity: ObjectIdentity): Promise<void>
  /** Committed objects of an earlier life, with allocations that the engine owns from then on. */
  recover?(): AsyncIterable<{ readonly identity: ObjectIdentity; readonly allocation: TierAllocation }>
}
