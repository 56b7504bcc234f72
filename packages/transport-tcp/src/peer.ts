import { asMooncakeError, KIB, MIB, MooncakeError, type Batch, type Clock } from '@mooncake-ts/core'
import { KIND_READ, STATUS_OK } from './codec.js'
import type { Piece } from './piece.js'
import type { ClientLane, FrameEnd } from './lane-client.js'
import { LaneGroup, type LaneGroupHost } from './lane-group.js'
import type { TransportMetrics } from './metrics.js'
import type { ResolvedOptions } from './options.js'
import type { Slots } from './slots.js'

/** Frames in flight on a lane for small operations: hides the round trip. */
export const SMALL_FRAMES_MAX = 8
/** On a lane for large ones: the next stripe is there when one ends; more would only unbalance the lanes. */
const LARGE_FRAMES_MAX = 2
/** From this size on an operation takes the lanes for large ones, so that small ones do not queue behind it. */
const LARGE_BYTES_MIN = 256 * KIB
/**
 * Small operations are packed up to this size: both ends work at the same time when a batch is several
 * frames.
 */
const SMALL_PACKED_BYTES = 256 * KIB
/** Large ones: a frame costs each end two wake-ups, which on a small machine take the time of 200 KiB each. */
const LARGE_PACKED_BYTES_MIN = MIB
const LARGE_PACKED_BYTES_WORTH = 8 * MIB
const LARGE_PACKED_BYTES_MAX = 16 * MIB

export interface PeerDeps {
  readonly options: ResolvedOptions
  readonly clock: Clock
  readonly metrics: TransportMetrics
  readonly slots: Slots
  /** Connects and greets. Rejects with a MooncakeError. */
  readonly connect: (onFrameEnd: (end: FrameEnd) => void) => Promise<ClientLane>
}

/** Another transport, seen from here: its lanes, what waits for them, and how much is on the wire. */
export class Peer implements LaneGroupHost {
  readonly clock: Clock
  readonly #deps: PeerDeps
  readonly #small: LaneGroup
  readonly #large: LaneGroup
  #inflightBytes = 0

  constructor(deps: PeerDeps) {
    this.#deps = deps
    this.clock = deps.clock
    const { lanesPerPeer } = deps.options
    this.#small = new LaneGroup(this, {
      lanesMax: 1,
      framesMax: SMALL_FRAMES_MAX,
      packedBytesMin: SMALL_PACKED_BYTES,
      packedBytesMax: SMALL_PACKED_BYTES,
      packedBytesWorth: SMALL_PACKED_BYTES,
    })
    this.#large =
      lanesPerPeer === 1
        ? this.#small
        : new LaneGroup(this, {
            lanesMax: lanesPerPeer - 1,
            framesMax: LARGE_FRAMES_MAX,
            packedBytesMin: LARGE_PACKED_BYTES_MIN,
            packedBytesMax: LARGE_PACKED_BYTES_MAX,
            packedBytesWorth: LARGE_PACKED_BYTES_WORTH,
          })
  }

  get lanes(): ClientLane[] {
    return [...new Set([...this.#small.lanes, ...this.#large.lanes])]
  }

  /** Nothing to keep it for. */
  get idle(): boolean {
    return this.#small.idle && this.#large.idle
  }

  get queued(): number {
    return this.#small.queued + (this.#large === this.#small ? 0 : this.#large.queued)
  }

  /** Call `pump` after the last piece of a batch. */
  push(pieces: readonly Piece[]): void {
    const [first] = pieces
    if (first == null) return
    const largeBytesMin = Math.min(LARGE_BYTES_MIN, this.#deps.options.bulkThresholdBytes)
    const group = first.operation.op.local.byteLength >= largeBytesMin ? this.#large : this.#small
    for (const piece of pieces) group.push(piece)
  }

  pump(): void {
    this.#small.pump()
    if (this.#large !== this.#small) this.#large.pump()
  }

  /** Takes back what is not on the wire. */
  takeBack(batch: Batch): void {
    this.#small.takeBack(batch)
    this.#large.takeBack(batch)
  }

  /**
   * The only way to stop what is on the wire: a frame cannot be recalled. Others' frames on those lanes fail
   * too.
   */
  closeLanesOf(batch: Batch): void {
    for (const lane of this.lanes) {
      if (lane.carries(batch))
        lane.fail(new MooncakeError('ERR_TRANSFER_FAIL', 'The lane was closed by an abort'))
    }
  }

  /** Takes no more work; what is on the wire may end. Settles when the last lane is at rest. */
  async close(): Promise<void> {
    const groups = [this.#small, this.#large]
    for (const group of groups) group.refuseAll(new MooncakeError('ERR_SHUTTING_DOWN'))
    await Promise.all(groups.map(group => group.close()))
  }

  sweep(nowMs: number): void {
    const { operationTimeoutMs, laneIdleMs } = this.#deps.options
    for (const lane of this.lanes) lane.sweep(nowMs, operationTimeoutMs, laneIdleMs)
  }

  // ---- what its groups ask

  openLane(): Promise<ClientLane> {
    return this.#deps.connect(end => {
      this.#endFrame(end)
    })
  }

  admits(pieceBytes: number): boolean {
    const { inflightBytesMaxPerPeer } = this.#deps.options
    return this.#inflightBytes === 0 || this.#inflightBytes + pieceBytes <= inflightBytesMaxPerPeer
  }

  posted(byteLength: number): void {
    this.#inflightBytes += byteLength
  }

  prepare(piece: Piece): boolean {
    try {
      piece.slot = this.#deps.slots.acquire(piece.operation.op.local.region)
      return true
    } catch (error) {
      this.refuse(piece, asMooncakeError(error))
      return false
    }
  }

  refuse(piece: Piece, error: Error): void {
    this.#deps.metrics.failed('initiator', error)
    piece.operation.settle(error)
  }

  #endFrame({ pieces, byteLength, statuses, error }: FrameEnd): void {
    const { slots } = this.#deps
    this.#inflightBytes -= byteLength
    if (error == null) this.#count(pieces, statuses)
    pieces.forEach((piece, i) => {
      slots.release(piece.slot!)
      piece.slot = undefined
      if (error != null) this.refuse(piece, asTransferFail(error))
      else if ((statuses?.[i] ?? STATUS_OK) === STATUS_OK) piece.operation.settle()
      else this.refuse(piece, new MooncakeError('ERR_ACCESS_DENIED'))
    })
    this.pump()
  }

  #count(pieces: readonly Piece[], statuses: Uint8Array | undefined): void {
    const moved = { reads: 0, readBytes: 0, writes: 0, writtenBytes: 0 }
    pieces.forEach(({ kind, byteLength }, i) => {
      if ((statuses?.[i] ?? STATUS_OK) !== STATUS_OK) return
      if (kind === KIND_READ) {
        moved.reads++
        moved.readBytes += byteLength
      } else {
        moved.writes++
        moved.writtenBytes += byteLength
      }
    })
    this.#deps.metrics.moved('initiator', 'read', moved.reads, moved.readBytes)
    this.#deps.metrics.moved('initiator', 'write', moved.writes, moved.writtenBytes)
  }
}

/** Whatever ended a lane, its operations failed to be moved, and may be tried again. */
function asTransferFail(reason: MooncakeError): MooncakeError {
  if (reason.code === 'ERR_TRANSFER_FAIL') return reason
  return new MooncakeError('ERR_TRANSFER_FAIL', `The lane ended: ${reason.message}`, { cause: reason })
}
