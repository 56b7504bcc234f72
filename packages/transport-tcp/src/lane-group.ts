import { MooncakeError, type Batch, type Clock } from '@mooncake-ts/core'
import type { ClientLane } from './lane-client.js'
import type { Piece } from './piece.js'
import { PieceQueue } from './piece-queue.js'

/** After a lane could not be opened beside working ones, how long until the next try. */
const REOPEN_MS = 1_000

export interface LaneGroupOptions {
  readonly lanesMax: number
  /** Frames in flight on one lane; the peer may allow fewer. */
  readonly framesMax: number
  /** Payload up to which pieces are packed into one frame, at least and at most. A single piece may be larger. */
  readonly packedBytesMin: number
  readonly packedBytesMax: number
  /** A frame of this size is worth what it costs: where there is a choice, frames are not smaller. */
  readonly packedBytesWorth: number
}

/** What a group asks of its peer. */
export interface LaneGroupHost {
  readonly clock: Clock
  /** Connects and greets. Rejects with a MooncakeError. */
  openLane(): Promise<ClientLane>
  /** Whether a piece may go on the wire now; one alone always may. */
  admits(pieceBytes: number): boolean
  /** Takes the piece's slot; false where it failed instead, and is settled. */
  prepare(piece: Piece): boolean
  /** Bytes are about to be posted. */
  posted(byteLength: number): void
  /** The piece was never on the wire. */
  refuse(piece: Piece, error: Error): void
}

/**
 * The lanes to one peer for one class of pieces, and the queue before them. Lanes are opened when there is
 * work.
 */
export class LaneGroup {
  readonly #host: LaneGroupHost
  readonly #options: LaneGroupOptions
  readonly #queue = new PieceQueue()
  readonly #lanes = new Set<ClientLane>()
  /** Lanes on their way; they never reject. */
  readonly #openings = new Set<Promise<void>>()
  #reopenMs = -Infinity
  /** What is left of a round, and how large its frames are. */
  #roundFrames = 0
  #roundBytes = 0
  #pumping = false
  #closed = false

  constructor(host: LaneGroupHost, options: LaneGroupOptions) {
    this.#host = host
    this.#options = options
  }

  get queued(): number {
    return this.#queue.length
  }

  get lanes(): ReadonlySet<ClientLane> {
    return this.#lanes
  }

  /** Nothing to keep: no lane, none on its way, nothing waiting. */
  get idle(): boolean {
    return this.#lanes.size + this.#openings.size + this.#queue.length === 0
  }

  /** Call `pump` after the last of a batch, so that pieces are packed. */
  push(piece: Piece): void {
    if (this.#queue.length === 0) this.#roundFrames = 0
    this.#queue.push(piece)
  }

  /**
   * Posts what can be posted, and opens lanes for the rest. A piece that fails in between ends its operation, whose
   * owner may push more and call again from inside: the lane that was chosen is not for that call, and what it pushed
   * is found by this one.
   */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      for (;;) {
        const lane = this.#queue.length === 0 ? undefined : this.#freest()
        const pieces = lane == null ? [] : this.#takeFrame(lane.limits.frameOpsMax, this.#packedBytes())
        if (lane == null || pieces.length === 0) break
        lane.post(pieces)
      }
    } finally {
      this.#pumping = false
    }
    this.#openLanes()
  }

  takeBack(batch: Batch): void {
    for (const piece of this.#queue.takeOut(batch)) piece.operation.takeBack()
  }

  /** Fails what waits. */
  refuseAll(error: Error): void {
    for (const piece of this.#queue.takeOut()) this.#host.refuse(piece, error)
  }

  /** Opens no lanes any more, and lets the open ones end their frames. Settles when all are at rest. */
  async close(): Promise<void> {
    this.#closed = true
    for (const lane of this.#lanes) lane.finish()
    await Promise.all(this.#openings)
    await Promise.all([...this.#lanes].map(lane => lane.rest))
  }

  /** With the least to do, so that all end together. */
  #freest(): ClientLane | undefined {
    let best: ClientLane | undefined
    for (const lane of this.#lanes) {
      if (!lane.hasRoom || lane.framesInFlight >= this.#options.framesMax) continue
      if (best == null || lane.bytesInFlight < best.bytesInFlight) best = lane
    }
    return best
  }

  #takeFrame(opsMax: number, packedBytes: number): Piece[] {
    const pieces: Piece[] = []
    let byteLength = 0
    for (let next = this.#queue.first; next != null && pieces.length < opsMax; next = this.#queue.first) {
      if (pieces.length > 0 && byteLength + next.byteLength > packedBytes) break
      if (!this.#host.admits(next.byteLength)) break
      this.#queue.shift()
      if (!this.#host.prepare(next)) continue
      pieces.push(next)
      byteLength += next.byteLength
      this.#host.posted(next.byteLength)
    }
    return pieces
  }

  /**
   * Frames cost messages and wake-ups, but large ones leave lanes idle at the end. So each round gives half of what
   * waits to the lanes, in equal parts (Hummel, Schonberg and Flynn, "Factoring", 1992), or all of it, where the parts
   * would be small.
   */
  #packedBytes(): number {
    const { lanesMax, packedBytesMin, packedBytesMax, packedBytesWorth } = this.#options
    if (this.#roundFrames === 0) {
      this.#roundFrames = lanesMax
      const shareBytes = this.#queue.byteLength / lanesMax
      const wantedBytes = Math.max(shareBytes / 2, Math.min(shareBytes, packedBytesWorth))
      this.#roundBytes = Math.min(packedBytesMax, Math.max(packedBytesMin, wantedBytes))
    }
    this.#roundFrames--
    return this.#roundBytes
  }

  #openLanes(): void {
    const tooSoon = this.#lanes.size > 0 && this.#host.clock.nowMs() < this.#reopenMs
    if (this.#closed || tooSoon) return
    let free = this.#openings.size
    for (const lane of this.#lanes) if (lane.framesInFlight === 0) free++
    while (this.#queue.length > free && this.#lanes.size + this.#openings.size < this.#options.lanesMax) {
      free++
      const opening = this.#openLane().finally(() => {
        this.#openings.delete(opening)
        this.pump()
      })
      this.#openings.add(opening)
    }
  }

  async #openLane(): Promise<void> {
    try {
      const lane = await this.#host.openLane()
      this.#lanes.add(lane)
      void lane.rest.then(() => {
        this.#lanes.delete(lane)
        this.pump() // What waits finds another lane, or opens one.
      })
      if (this.#closed) lane.finish()
    } catch (error) {
      // Other lanes may still serve the queue. To wait for others on their way instead could go on for ever.
      if (this.#lanes.size > 0) this.#reopenMs = this.#host.clock.nowMs() + REOPEN_MS
      else this.refuseAll(transferFail(error))
    }
  }
}

function transferFail(cause: unknown): MooncakeError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new MooncakeError('ERR_TRANSFER_FAIL', `No lane to the peer: ${reason}`, { cause })
}
