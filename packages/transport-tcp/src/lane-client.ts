import { asMooncakeError, MooncakeError, type Batch, type Clock } from '@mooncake-ts/core'
import {
  decodeResponseHead,
  DESCRIPTOR_BYTES,
  encodeDescriptor,
  encodeRequestHead,
  KIND_READ,
  KIND_WRITE,
  REQUEST_HEAD_BYTES,
  requestBytes,
  RESPONSE_HEAD_BYTES,
  STATUS_OK,
} from './codec.js'
import type { LaneLimits } from './handshake.js'
import { IoVector } from './io-vector.js'
import type { Piece } from './piece.js'
import type { LaneSocket } from './lane-socket.js'

interface Frame {
  readonly sequence: number
  readonly opCount: number
  readonly pieces: readonly Piece[]
  readonly byteLength: number
  /** Where its head lies in the head memory. */
  readonly block: number
  /** The kernel has let go of head and payload. */
  sent: boolean
  /** The response is here, whole. */
  answered: boolean
  /** One for each piece; undefined while all are OK. */
  statuses: Uint8Array | undefined
}

/** How a frame ended. */
export interface FrameEnd {
  readonly pieces: readonly Piece[]
  readonly byteLength: number
  /** One for each piece; undefined when all are OK. */
  readonly statuses?: Uint8Array | undefined
  /** The lane ended before the frame did. */
  readonly error?: MooncakeError
}

/** Head memory that an initiator's lane needs. */
export function clientHeadBytes({ frameOpsMax, framesMax }: LaneLimits): number {
  return RESPONSE_HEAD_BYTES + frameOpsMax + framesMax * requestBytes(frameOpsMax)
}

/**
 * The initiator's end of a lane: posts frames without waiting, several at a time, and takes their responses
 * in order. A receive is always posted, so that the end of the peer is noticed at once.
 */
export class ClientLane {
  readonly limits: LaneLimits
  readonly #socket: LaneSocket
  readonly #clock: Clock
  readonly #onFrameEnd: (end: FrameEnd) => void
  readonly #freeBlocks: number[]
  readonly #frames = new Set<Frame>()
  /** In the order of their responses. */
  readonly #unanswered: Frame[] = []
  #sequence = 0
  #bytesInFlight = 0
  #finishing = false
  #progressMs: number

  /**
   * The socket has greeted.
   * @param onFrameEnd called once for each frame, when nothing touches its pieces any more
   */
  constructor(socket: LaneSocket, limits: LaneLimits, clock: Clock, onFrameEnd: (end: FrameEnd) => void) {
    this.limits = limits
    this.#socket = socket
    this.#clock = clock
    this.#onFrameEnd = onFrameEnd
    this.#progressMs = clock.nowMs()
    const base = RESPONSE_HEAD_BYTES + limits.frameOpsMax
    const blockBytes = requestBytes(limits.frameOpsMax)
    this.#freeBlocks = Array.from({ length: limits.framesMax }, (_, i) => base + i * blockBytes)
    void socket.rest.then(error => {
      for (const { pieces, byteLength } of this.#frames) onFrameEnd({ pieces, byteLength, error })
      this.#frames.clear()
    })
    this.#awaitResponse()
  }

  /** Settles with the reason of its end, at rest. */
  get rest(): Promise<MooncakeError> {
    return this.#socket.rest
  }

  get hasRoom(): boolean {
    return this.#freeBlocks.length > 0 && !this.#finishing && !this.#socket.destroyed
  }

  get framesInFlight(): number {
    return this.#frames.size
  }

  /** Payload of its frames. */
  get bytesInFlight(): number {
    return this.#bytesInFlight
  }

  carries(batch: Batch): boolean {
    for (const { pieces } of this.#frames)
      if (pieces.some(piece => piece.operation.batch === batch)) return true
    return false
  }

  /** One frame. Needs `hasRoom`; the pieces have their slots, and are at most `limits.frameOpsMax`. */
  post(pieces: readonly Piece[]): void {
    const { head, headView, headSlot } = this.#socket
    const block = this.#freeBlocks.pop()!
    const vector = new IoVector().push(headSlot, block, requestBytes(pieces.length))
    let byteLength = 0
    let writeBytes = 0
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i]!
      const at = block + REQUEST_HEAD_BYTES + i * DESCRIPTOR_BYTES
      head.set(piece.operation.op.remote.window.key, at)
      encodeDescriptor(headView, at, {
        kind: piece.kind,
        offset: piece.remoteOffset,
        operationBytes: piece.operationBytes,
        byteLength: piece.byteLength,
      })
      byteLength += piece.byteLength
      if (piece.kind !== KIND_WRITE) continue
      writeBytes += piece.byteLength
      vector.push(piece.slot!.index, piece.localOffset, piece.byteLength)
    }
    const sequence = this.#sequence++ >>> 0
    const opCount = pieces.length
    encodeRequestHead(headView, block, { sequence, opCount, writeBytes })
    const frame: Frame = {
      sequence,
      opCount,
      pieces,
      byteLength,
      block,
      sent: false,
      answered: false,
      statuses: undefined,
    }
    if (this.#frames.size === 0) this.#progressMs = this.#clock.nowMs()
    this.#frames.add(frame)
    this.#bytesInFlight += byteLength
    this.#unanswered.push(frame)
    const done = (): void => {
      this.#progressMs = this.#clock.nowMs()
      frame.sent = true
      this.#endIfDone(frame)
    }
    this.#socket.send({ vector, done })
  }

  /** Ends when its frames have; takes no new ones. */
  finish(): void {
    this.#finishing = true
    if (this.#frames.size === 0) this.fail(new MooncakeError('ERR_SHUTTING_DOWN', 'The lane was closed'))
  }

  fail(reason: MooncakeError): void {
    this.#socket.destroy(reason)
  }

  sweep(nowMs: number, operationTimeoutMs: number, laneIdleMs: number): void {
    const quietMs = nowMs - this.#progressMs
    if (this.#frames.size === 0) {
      if (quietMs > laneIdleMs) this.finish()
    } else if (quietMs > operationTimeoutMs) {
      this.fail(
        new MooncakeError('ERR_TRANSFER_FAIL', `The peer made no progress for ${operationTimeoutMs} ms`),
      )
    }
  }

  #awaitResponse(): void {
    const { headView, headSlot } = this.#socket
    this.#receive(new IoVector().push(headSlot, 0, RESPONSE_HEAD_BYTES), () => {
      const frame = this.#unanswered[0]
      if (frame == null)
        throw new MooncakeError('ERR_PROTOCOL', 'The peer answered without having been asked')
      const { hasStatuses } = decodeResponseHead(headView, 0, frame)
      if (!hasStatuses) this.#receivePayload(frame)
      else {
        const statuses = new IoVector().push(headSlot, RESPONSE_HEAD_BYTES, frame.opCount)
        this.#receive(statuses, () => {
          const end = RESPONSE_HEAD_BYTES + frame.opCount
          frame.statuses = Uint8Array.from(this.#socket.head.subarray(RESPONSE_HEAD_BYTES, end))
          this.#receivePayload(frame)
        })
      }
    })
  }

  #receivePayload(frame: Frame): void {
    const vector = new IoVector()
    frame.pieces.forEach(({ kind, slot, localOffset, byteLength }, i) => {
      const wanted = kind === KIND_READ && (frame.statuses?.[i] ?? STATUS_OK) === STATUS_OK
      if (wanted) vector.push(slot!.index, localOffset, byteLength)
    })
    this.#receive(vector, () => {
      frame.answered = true
      this.#unanswered.shift()
      this.#endIfDone(frame)
      this.#awaitResponse()
    })
  }

  /** `then` may throw ERR_PROTOCOL: the stream is out of step and the lane ends. */
  #receive(vector: IoVector, then: () => void): void {
    this.#socket.receive(vector, () => {
      this.#progressMs = this.#clock.nowMs()
      try {
        then()
      } catch (error) {
        this.fail(asMooncakeError(error, 'ERR_PROTOCOL'))
      }
    })
  }

  /** A response may be seen before the end of the send that it answers: they come from different threads. */
  #endIfDone(frame: Frame): void {
    if (!frame.sent || !frame.answered) return
    this.#frames.delete(frame)
    this.#freeBlocks.push(frame.block)
    const { pieces, byteLength, statuses } = frame
    this.#bytesInFlight -= byteLength
    this.#onFrameEnd({ pieces, byteLength, statuses })
    if (this.#finishing && this.#frames.size === 0) this.finish()
  }
}
