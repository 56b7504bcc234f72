/**
 * One large piece of pinned memory, made once. It is a handle: JavaScript never sees its address (I1).
 * Addons reach it through `handle`, a type-tagged External over the C struct `region`
 * (`@mooncake-ts/memory/native/region_abi.h`).
 */
export interface Region {
  /** Unique within this process, never reused. */
  readonly id: number
  readonly byteLength: number
  /** Where the bytes live. Other kinds (device memory) come with the plugins that make them. */
  readonly kind: 'host'
  /** Type-tagged External; addons retain it for every operation in flight (I2). */
  readonly handle: unknown
  readonly closed: boolean
  /**
   * Memory of another process: a write to it ends this one, so nothing may be copied there.
   * @defaultValue false
   */
  readonly readOnly?: boolean
  /**
   * A window on the bytes, for people, tests and small headers; the data path makes none.
   * It keeps the memory alive for as long as it is reachable.
   * @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED
   */
  view(offset: number, byteLength: number): Uint8Array
  /**
   * Takes the pages from the system now, off the JavaScript thread, rather than at the first touch of each.
   * The bytes stay what they are. `close` ends it; nothing touches the pages any more when it settles.
   * @throws ERR_OUT_OF_MEMORY, ERR_REGION_CLOSED
   */
  prefault?(): Promise<void>
  /** Runs when `close` is called, so that transports can forget what they registered. */
  onClose(listener: () => void): void
  /** Gives up this handle. The memory goes when the last operation in flight has let go of it. Idempotent. */
  close(): void
}

/** `byteLength` bytes of `region`, from `offset`. Integers only. */
export interface Slice {
  readonly region: Region
  readonly offset: number
  readonly byteLength: number
}

export interface CopyOp {
  readonly from: Slice
  readonly to: Slice
}

/**
 * Copies between Regions off the JavaScript thread (small ones on it, where a hop costs more than the copy).
 */
export interface CopyPool {
  /**
   * Settles when every copy is done. Source and target of one op have the same length.
   * @throws ERR_SLICE_OUT_OF_BOUNDS
   */
  copy(batch: readonly CopyOp[]): Promise<void>
  /** CRC-32C of each slice, in order. */
  checksum(slices: readonly Slice[]): Promise<Uint32Array>
  /** The same now, on this thread: for bytes that are too few to be worth a wait. */
  checksumNow(slices: readonly Slice[]): Uint32Array
  /**
   * Copies the slices, one after the other, into `into`: now, on this thread. For bytes that are too few to
   * be worth a wait.
   * @throws ERR_SLICE_OUT_OF_BOUNDS for slices that hold more than `into`
   */
  gather(slices: readonly Slice[], into: Uint8Array): void
  /**
   * The other direction, likewise.
   * @throws ERR_SLICE_OUT_OF_BOUNDS for slices that hold more than `from`
   */
  scatter(from: Uint8Array, slices: readonly Slice[]): void
  /** Waits for what is in flight and ends the workers. Idempotent. */
  close(): Promise<void>
}

/** What the engine needs from a memory package; `@mooncake-ts/memory` provides it. */
export interface MemoryProvider {
  createRegion(options: { readonly byteLength: number; readonly label?: string }): Region
  /**
   * A Region over the caller's own bytes, without a copy. The buffer must not be transferred or resized
   * meanwhile.
   */
  wrap(bytes: Uint8Array): Region
  readonly copyPool: CopyPool
}
