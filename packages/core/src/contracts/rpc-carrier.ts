import type { Duplex } from 'node:stream'

/**
 * Carries the bytes of RPC connections by something better than the sockets on which their ends have met and proven
 * the cluster secret. A connection moves to it where both ends have it and it works just now; else it stays on its
 * socket. The socket stays open in any case: when it ends, so does the connection.
 */
export interface RpcCarrier {
  /** What the two ends must have in common, with the version of its protocol, e.g. `rdma/1`. */
  readonly name: string
  /** Whether a connection can be had just now. */
  readonly ready: boolean
  /**
   * Makes one end of a connection.
   *
   * @param peer what the other end has told of itself; absent at the end that asks first
   * @throws ERR_RPC_FAIL, with why there is none
   */
  prepare(peer?: Uint8Array): Promise<CarriedEnd>
}

/** One end of a connection that is being made. */
export interface CarriedEnd {
  /** What the other end needs to know of this one; at most 1 KiB. */
  readonly info: Uint8Array
  /**
   * A stream of bytes in both directions that behaves as a socket does: back-pressure, an end in each direction, and
   * `close` when nothing of it is touched any more. The end that asked first has proof then that bytes arrive.
   *
   * @throws ERR_RPC_FAIL; this end is gone then
   */
  connect(peer: Uint8Array): Promise<Duplex>
  /** Gives it up, at any time until `connect` has settled; where that is pending, it rejects soon. */
  discard(): void
}
