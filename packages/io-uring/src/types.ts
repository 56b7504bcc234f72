import type { Region } from '@mooncake-ts/core'

export interface IoEngineOptions {
  /**
   * `auto` (default) takes io_uring where the kernel and the container allow it, and `threads` elsewhere.
   * The environment variable `MOONCAKE_IO_ENGINE` overrides `auto`.
   */
  readonly engine?: 'auto' | 'io_uring' | 'threads'
  /** Native threads with a ring of their own, 0 to 64. Default 2; more than cores gains nothing. */
  readonly bulkThreads?: number
  /** Submission entries per ring, 1 to 32768. Default 1024. Longer batches take several kernel entries. */
  readonly entries?: number
  /** Workers for files in the threads engine, 1 to 64. Default 4. */
  readonly fileThreads?: number
}

/**
 * How an operation ended: bytes moved, or a new fd, or 0; below 0 it is -errno (see `errnoName`). Called
 * exactly once, from the event loop
 * or a microtask, never from within the call that prepared it. By then nothing touches the operation's
 * memory.
 */
export type Done = (result: number) => void

/** An address without names: literals and paths only. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string }

export interface TransferFlags {
  /** Go on until the whole length is moved. Default: false for `recv`, true for `send`. */
  readonly waitAll?: boolean
}

/**
 * Where operations are queued and entered. Preparing calls no kernel; `submit` does, once for all that is
 * prepared.
 *
 * A vector is a flat list of triples `[slot, offset, length, ...]`. It is read before the call returns. Each
 * call returns an id for `cancel`.
 *
 * Order: io_uring does **not** order operations, not even on one socket. Keep one `recv` and one `send` in
 * flight per socket, on one ring.
 *
 * Close an fd only when nothing is in flight on it: closing does not end operations. `shutdownSocket` and
 * `cancel` do.
 *
 * @throws ERR_SLICE_OUT_OF_BOUNDS a triple is outside of its slot, or the slot unknown or detached; nothing
 *   is queued
 * @throws ERR_OVERLOADED 1,048,576 operations are in flight
 * @throws ERR_SHUTTING_DOWN the engine was closed
 * @throws ERR_INVALID_PARAMS the fd, offset or address cannot be one
 */
export interface Ring {
  /**
   * Receives. Without `waitAll`, what is there (at least one byte); with it, the whole vector. A shorter
   * result means that the stream
   * ended, failed or was cancelled part of the way; 0 is the end of the stream.
   */
  recv(fd: number, vec: ArrayLike<number>, done: Done, flags?: TransferFlags): number
  /**
   * Sends the whole vector. A shorter result means that the connection failed or the operation was cancelled
   * part of the way. Raises no SIGPIPE.
   */
  send(fd: number, vec: ArrayLike<number>, done: Done, flags?: TransferFlags): number
  /** Reads a file from `fileOffset` (bytes). A shorter result is the end of the file. */
  read(fd: number, vec: ArrayLike<number>, fileOffset: number, done: Done): number
  /**
   * Writes a file from `fileOffset` (bytes). A shorter result means that the system failed part of the way
   * (disk full).
   */
  write(fd: number, vec: ArrayLike<number>, fileOffset: number, done: Done): number
  /** Makes a file durable; `dataOnly` leaves out metadata that reading back does not need. */
  fsync(fd: number, done: Done, flags?: { readonly dataOnly?: boolean }): number
  /**
   * Takes disk space for a range of a file (fallocate) and makes the file that long, so that writes into it
   * cannot meet a full disk. -EOPNOTSUPP where the file system cannot.
   */
  allocate(fd: number, fileOffset: number, byteLength: number, done: Done): number
  /** The result is the fd of the new connection; it belongs to the caller. */
  accept(fd: number, done: Done): number
  connect(fd: number, address: SocketAddress, done: Done): number
  /** Does nothing, the whole way through the ring. */
  nop(done: Done): number
  /**
   * Hands everything prepared to the kernel. Every eighth operation does it, and a microtask if this is
   * forgotten; within `done` it happens at the end of the batch.
   */
  submit(): void
  /**
   * Asks for the end of an operation. Its `done` still comes, with -ECANCELED or with its result. Unknown ids
   * are ignored.
   */
  cancel(operationId: number): void
}

export interface IoEngineStats {
  readonly inFlight: number
  readonly submitted: number
  readonly completed: number
  readonly attachedSlots: number
  /** Calls of io_uring_enter; in the threads engine, attempts of system calls. */
  readonly enters: number
}

export interface IoEngine {
  readonly kind: 'io_uring' | 'threads'
  /**
   * Why this engine, for logs: `available`, `asked for`, or what refused io_uring, as `io_uring_setup:
   * EPERM`.
   */
  readonly reason: string
  /** The JavaScript thread enters the kernel itself: best below 1 MiB. */
  readonly inline: Ring
  /**
   * One native thread each: best from about 1 MiB. In the threads engine they are all the inline ring; empty
   * if `bulkThreads` is 0.
   */
  readonly bulk: readonly Ring[]
  /**
   * Gives memory a small number for vectors, and keeps it alive. The number is used again after `detach`,
   * like an fd.
   * The buffer of a Uint8Array is marked untransferable; it must not be resizable.
   * @throws ERR_INVALID_PARAMS, ERR_REGION_CLOSED, ERR_SHUTTING_DOWN
   */
  attach(memory: Region | Uint8Array): number
  /**
   * No new operations; the memory is let go when the last operation in flight on it has ended. Unknown slots
   * are ignored.
   */
  detach(slot: number): void
  stats(): IoEngineStats
  /** Operations in flight keep the process alive, as sockets do (default), or no longer do. */
  ref(): void
  unref(): void
  /**
   * Cancels everything, waits until every `done` was called, joins the threads and lets go of all memory.
   * Idempotent.
   */
  close(): Promise<void>
}

export interface SocketOptions {
  readonly sendBufferBytes?: number
  readonly receiveBufferBytes?: number
  /** TCP_NODELAY; ignored by unix sockets. */
  readonly noDelay?: boolean
  /**
   * TCP keepalive: a peer that is silent for so many seconds (1 to 32767) is probed, and the connection fails
   * with ETIMEDOUT after about as long again. For hosts that vanish without a FIN. 0 turns it off; ignored by
   * unix sockets.
   */
  readonly keepAliveSeconds?: number
}
