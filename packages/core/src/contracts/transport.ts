import type { CompletionStream } from './transfer.js'
import type { Region, Slice } from './memory.js'

export type Access = 'read' | 'write' | 'readwrite'

/**
 * Names memory of another process, as its transport announced it. Plain data, made to ride an RPC.
 * `key` means something only to the transport whose scheme it carries.
 */
export interface RemoteWindow {
  readonly scheme: string
  /** Where the transport of the owner is reached, e.g. `127.0.0.1:7000`. */
  readonly endpoint: string
  /** Opaque to everybody else: id and secret token of the exposure. */
  readonly key: Uint8Array
}

/** `byteLength` bytes of a window, from `offset` (counted from the start of the window). */
export interface RemoteSlice {
  readonly window: RemoteWindow
  readonly offset: number
  readonly byteLength: number
}

/** What is known when an exposure is revoked. */
export interface RevokeOptions {
  /**
   * The only peer that was told of the window has said that all its operations on it went well. Then a transport
   * whose target cannot see operations need not ask for them. @defaultValue false
   */
  readonly peerAtRest?: boolean
}

/** A range of local memory that peers may reach until it is revoked. */
export interface Exposure {
  readonly window: RemoteWindow
  /**
   * Takes the permission back. Settles when no peer's operation touches the range any more,
   * which is what makes a deadline on a peer's work safe (I3, I4). Idempotent.
   */
  revoke(options?: RevokeOptions): Promise<void>
}

export interface ExposeOptions {
  readonly offset: number
  readonly byteLength: number
  readonly access: Access
}

export interface TransferOp {
  /** `read`: remote to local. `write`: local to remote. */
  readonly kind: 'read' | 'write'
  readonly local: Slice
  readonly remote: RemoteSlice
}

/** Capabilities are data: the engine, users and the compliance suite read the same values. */
export interface TransportSupports {
  /**
   * `revoke()` really stops peers. Then a peer may be asked to move the bytes itself (one round trip less);
   * else the side that owns the deadline must be the one that moves them.
   */
  readonly revoke: boolean
  /** Other processes on other hosts are reachable. */
  readonly remote: boolean
  /**
   * Bytes go through sockets, as those of an RPC do: what rides an RPC may be larger than where a transport moves
   * bytes without the processor, or without the kernel. @defaultValue false
   */
  readonly sockets?: boolean
}

/** Bytes of another process where they lie, to be read and never written: a write ends the process. */
export interface RemoteView {
  readonly bytes: Uint8Array
  /**
   * The window has not been revoked. So what was read of `bytes` before this was asked is what was exposed.
   * False for good once it is false. Bytes stay readable, whatever becomes of the other process.
   */
  readonly valid: boolean
}

/** Moves bytes between local Slices and remote ones, one-sided: the target's JavaScript takes no part. */
export interface Transport {
  readonly scheme: string
  readonly supports: TransportSupports
  /** Where peers reach this transport; known after start. */
  readonly endpoint: string
  /** Whether an operation on this window can be tried at all from here. */
  reaches(window: RemoteWindow): boolean
  /** @throws ERR_SLICE_OUT_OF_BOUNDS, ERR_REGION_CLOSED, ERR_SHUTTING_DOWN */
  expose(region: Region, options: ExposeOptions): Exposure
  /**
   * Posts the batch when subscribed to. One completion per operation, in any order; an operation that fails
   * is a completion with an error, never a failed batch. On abort nothing new is posted and the stream ends
   * with the signal's reason, at rest.
   */
  execute(batch: readonly TransferOp[], options: { readonly signal: AbortSignal }): CompletionStream
  /**
   * The bytes in place, where the transport can show them.
   * @throws ERR_ACCESS_DENIED, ERR_NOT_SUPPORTED for memory that cannot be shown, ERR_TRANSFER_FAIL, the
   * signal's reason
   */
  view?(remote: RemoteSlice, options: { readonly signal: AbortSignal }): Promise<RemoteView>
}
