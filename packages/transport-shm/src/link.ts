import {
  asMooncakeError,
  MooncakeError,
  type RemoteSlice,
  type RemoteView,
  type Batch,
  type BatchOperation,
} from '@mooncake-ts/core'
import type { Copier } from './copier.js'
import type { Peer } from './peer.js'

/** The way to one endpoint: what comes before it is connected waits. It ends once and for all. */
export class Link {
  #peer: Peer | undefined
  #waiting: BatchOperation[] = []
  readonly #connected: Promise<Peer>
  /** What had come when somebody last looked. */
  #seenCount = 0
  #silentSinceMs: number | undefined
  /** Settles when nothing can come of it any more. */
  readonly ended: Promise<MooncakeError>

  constructor(connecting: Promise<Peer>, copier: Copier) {
    this.#connected = connecting
    this.ended = connecting.then(
      peer => {
        this.#peer = peer
        for (const operation of this.#waiting.splice(0)) peer.start(operation)
        peer.flush()
        copier.pump()
        return peer.closed
      },
      (error: unknown) => {
        const reason = asMooncakeError(error)
        for (const operation of this.#waiting.splice(0)) operation.settle(reason)
        return reason
      },
    )
  }

  get isConnected(): boolean {
    return this.#peer != null
  }

  start(operation: BatchOperation): void {
    if (this.#peer == null) this.#waiting.push(operation)
    else this.#peer.start(operation)
  }

  flush(): void {
    this.#peer?.flush()
  }

  async view(remote: RemoteSlice, signal: AbortSignal): Promise<RemoteView> {
    const peer = await this.#connected
    signal.throwIfAborted()
    return await peer.view(remote, signal)
  }

  takeBack(batch: Batch): void {
    const waiting = this.#waiting
    this.#waiting = waiting.filter(operation => operation.batch !== batch)
    for (const operation of waiting) if (operation.batch === batch) operation.takeBack()
    this.#peer?.takeBack(batch)
  }

  hasPullsOf(batch: Batch): boolean {
    return this.#peer?.hasPullsOf(batch) === true
  }

  /** Ends it where the peer owes something and has said nothing for that long. */
  sweep(nowMs: number, silenceMsMax: number): void {
    const peer = this.#peer
    if (peer == null) return
    if (peer.owed === 0 || peer.receivedCount !== this.#seenCount) {
      this.#seenCount = peer.receivedCount
      this.#silentSinceMs = undefined
    } else if (nowMs - (this.#silentSinceMs ??= nowMs) >= silenceMsMax) {
      const message = `The peer has not answered for ${silenceMsMax} ms`
      peer.close(new MooncakeError('ERR_TRANSFER_FAIL', message))
    }
  }

  /** What waits for the connection fails at once; so does the rest as soon as there is one. */
  close(reason: MooncakeError): void {
    for (const operation of this.#waiting.splice(0)) operation.settle(reason)
    void this.#connected.then(
      peer => {
        peer.close(reason)
      },
      () => {}, // Then there is nothing to close.
    )
  }
}
