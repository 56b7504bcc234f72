/** A piece of a range. `id` belongs to the allocator and must be given back as it came. */
export interface Allocated {
  readonly id: number
  readonly offset: number
  /** Bytes asked for; what is set aside may be more (alignment, size classes). */
  readonly byteLength: number
}

/** Decides where in a range something lies: synchronous, O(1), no I/O. */
export interface Allocator {
  readonly capacityBytes: number
  readonly usedBytes: number
  /** Largest request that would succeed now. */
  readonly largestFreeBytes: number
  readonly count: number
  /** Undefined when nothing fits. @throws RangeError for a length that is not a positive safe integer */
  allocate(byteLength: number): Allocated | undefined
  /** @throws ERR_INVALID_PARAMS for a piece that is not held (also one freed before) */
  free(piece: Allocated): void
}
