import type { Batch } from '@mooncake-ts/core'
import { decodeKey, type WindowKey } from './key.js'
import type { Peer } from './peer.js'
import type { Piece } from './piece.js'
import type { StagedOperation } from './staged-operation.js'

/** What one batch has to post, by peer. What comes within one turn goes together: a window is looked at once for it. */
export class Outgoing {
  readonly #peers = new Set<Peer>()
  readonly #pieces = new Map<Peer, Piece[]>()
  /** Operations that wait for room in the staging memory. */
  readonly #waiting = new Set<StagedOperation>()
  /** Many operations of a batch are on few windows. */
  readonly #keys = new Map<Uint8Array, WindowKey>()
  #posted = false

  keyOf(key: Uint8Array): WindowKey {
    const known = this.#keys.get(key)
    if (known != null) return known
    const decoded = decodeKey(key)
    this.#keys.set(key, decoded)
    return decoded
  }

  add(peer: Peer, pieces: readonly Piece[]): void {
    this.#peers.add(peer)
    const queued = this.#pieces.get(peer)
    if (queued != null) queued.push(...pieces)
    else this.#pieces.set(peer, [...pieces])
    if (this.#posted && this.#pieces.size === 1 && queued == null) {
      queueMicrotask(() => {
        this.post()
      })
    }
  }

  await(operation: StagedOperation): void {
    this.#waiting.add(operation)
  }

  admitted(operation: StagedOperation): void {
    this.#waiting.delete(operation)
  }

  /** All that is there; what comes later follows by itself. */
  post(): void {
    this.#posted = true
    const all = [...this.#pieces]
    this.#pieces.clear()
    for (const [peer, pieces] of all) peer.run(pieces)
  }

  takeBack(batch: Batch): void {
    // The set itself: what gets the room that another gave up has left it, and takes itself back.
    for (const operation of this.#waiting) {
      this.#waiting.delete(operation)
      operation.cancel()
    }
    for (const peer of this.#peers) peer.takeBack(batch)
  }

  closeLinksOf(batch: Batch): void {
    for (const peer of this.#peers) peer.closeLinksOf(batch)
  }
}
