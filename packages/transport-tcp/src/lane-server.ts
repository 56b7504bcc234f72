import { asMooncakeError, MooncakeError, type Clock } from '@mooncake-ts/core'
import {
  decodeDescriptor,
  decodeRequestHead,
  DESCRIPTOR_BYTES,
  encodeResponseHead,
  KIND_READ,
  REQUEST_HEAD_BYTES,
  requestBytes,
  RESPONSE_HEAD_BYTES,
  STATUS_ACCESS_DENIED,
  STATUS_OK,
  type RequestHead,
} from './codec.js'
import type { ExposedRange, Exposures } from './exposures.js'
import type { LaneLimits } from './handshake.js'
import { IoVector } from './io-vector.js'
import type { LaneSocket } from './lane-socket.js'
import type { TransportMetrics } from './metrics.js'

/**
 * Where the payload of refused writes goes, so that the stream stays in step. What is in it means nothing.
 */
export interface Scratch {
  readonly slot: number
  readonly byteLength: number
}

export interface ServerLaneDeps {
  readonly exposures: Exposures
  readonly scratch: Scratch
  readonly metrics: TransportMetrics
  readonly clock: Clock
}

/** A request from its head on until its response is out. */
interface Frame extends RequestHead {
  /** Where its response head and statuses lie in the head memory. */
  readonly block: number
  readonly written: ExposedRange[]
  readonly read: ExposedRange[]
  readonly incoming: IoVector
  readonly outgoing: IoVector
  readBytes: number
  refused: number
}

const FIRST_BYTES = requestBytes(1)

/** Head memory that a target's lane needs. */
export function serverHeadBytes({ frameOpsMax, framesMax }: LaneLimits): number {
  return requestBytes(frameOpsMax) + framesMax * (RESPONSE_HEAD_BYTES + frameOpsMax)
}

/**
 * The target's end of a lane: receives frames, checks every descriptor, moves the payload, answers in order.
 */
export class ServerLane {
  readonly #socket: LaneSocket
  readonly #deps: ServerLaneDeps
  readonly #limits: LaneLimits
  readonly #freeBlocks: number[]
  /** Frames that hold exposures or owe a response. */
  readonly #frames = new Set<Frame>()
  /** All responses that the limits allow are owed: the next request waits in the socket. */
  #paused = false
  #finishing = false
  #progressMs: number

  /** The socket has greeted. */
  constructor(socket: LaneSocket, limits: LaneLimits, deps: ServerLaneDeps) {
    this.#socket = socket
    this.#deps = deps
    this.#limits = limits
    this.#progressMs = deps.clock.nowMs()
    const blockBytes = RESPONSE_HEAD_BYTES + limits.frameOpsMax
    const base = requestBytes(limits.frameOpsMax)
    this.#freeBlocks = Array.from({ length: limits.framesMax }, (_, i) => base + i * blockBytes)
    void socket.rest.then(() => {
      for (const frame of this.#frames) for (const range of [...frame.written, ...frame.read]) range.release()
      this.#frames.clear()
    })
    this.#awaitFrame()
  }

  /** Settles with the reason of its end, at rest. */
  get rest(): Promise<MooncakeError> {
    return this.#socket.rest
  }

  /** Whether the kernel may touch the range for this lane. */
  carries(range: ExposedRange): boolean {
    for (const { written, read } of this.#frames) {
      if (written.includes(range) || read.includes(range)) return true
    }
    return false
  }

  /** Ends when what was asked already is answered. */
  finish(): void {
    this.#finishing = true
    if (this.#frames.size === 0) this.fail(new MooncakeError('ERR_SHUTTING_DOWN'))
  }

  fail(reason: MooncakeError): void {
    this.#socket.destroy(reason)
  }

  /** Closes the lane of a peer that stopped in the middle of a frame: it must not hold exposures for ever. */
  sweep(nowMs: number, operationTimeoutMs: number): void {
    if (this.#frames.size === 0 || nowMs - this.#progressMs <= operationTimeoutMs) return
    this.fail(
      new MooncakeError('ERR_TRANSFER_FAIL', `The peer made no progress for ${operationTimeoutMs} ms`),
    )
  }

  #awaitFrame(): void {
    this.#paused = this.#freeBlocks.length === 0
    if (this.#paused || this.#finishing) return
    this.#receive(0, FIRST_BYTES, () => {
      const { headView } = this.#socket
      const { sequence, opCount, writeBytes } = decodeRequestHead(headView, 0, this.#limits.frameOpsMax)
      const frame: Frame = {
        sequence,
        opCount,
        writeBytes,
        block: this.#freeBlocks.pop()!,
        written: [],
        read: [],
        incoming: new IoVector(),
        outgoing: new IoVector(),
        readBytes: 0,
        refused: 0,
      }
      this.#frames.add(frame)
      this.#receive(FIRST_BYTES, requestBytes(opCount) - FIRST_BYTES, () => {
        this.#authorize(frame)
      })
    })
  }

  /** `then` may throw ERR_PROTOCOL: the stream is out of step and the lane ends. */
  #receive(offset: number, byteLength: number, then: () => void): void {
    this.#socket.receive(new IoVector().push(this.#socket.headSlot, offset, byteLength), () => {
      this.#progressMs = this.#deps.clock.nowMs()
      try {
        then()
      } catch (error) {
        this.fail(asMooncakeError(error, 'ERR_PROTOCOL'))
      }
    })
  }

  /** @throws ERR_PROTOCOL */
  #authorize(frame: Frame): void {
    const { headView, headSlot } = this.#socket
    const statusesAt = frame.block + RESPONSE_HEAD_BYTES
    frame.outgoing.push(headSlot, frame.block, RESPONSE_HEAD_BYTES)
    const payload = new IoVector()
    for (let i = 0; i < frame.opCount; i++) {
      const at = REQUEST_HEAD_BYTES + i * DESCRIPTOR_BYTES
      const descriptor = decodeDescriptor(headView, at)
      const range = this.#deps.exposures.authorize(descriptor, headView, at + 8)
      headView.setUint8(statusesAt + i, range == null ? STATUS_ACCESS_DENIED : STATUS_OK)
      if (range == null) frame.refused++
      if (descriptor.kind === KIND_READ) {
        if (range == null) continue
        frame.read.push(range)
        payload.push(range.slot.index, range.offset + descriptor.offset, descriptor.byteLength)
      } else if (range == null) this.#drain(frame.incoming, descriptor.byteLength)
      else {
        frame.written.push(range)
        frame.incoming.push(range.slot.index, range.offset + descriptor.offset, descriptor.byteLength)
      }
    }
    if (frame.incoming.byteLength !== frame.writeBytes) {
      throw new MooncakeError(
        'ERR_PROTOCOL',
        'The peer announced more or less payload than its descriptors say',
      )
    }
    frame.readBytes = payload.byteLength
    if (frame.refused > 0) frame.outgoing.push(headSlot, statusesAt, frame.opCount)
    frame.outgoing.append(payload)
    this.#socket.receive(frame.incoming, () => {
      this.#answer(frame)
    })
  }

  #drain(incoming: IoVector, byteLength: number): void {
    const { slot, byteLength: scratchBytes } = this.#deps.scratch
    for (let left = byteLength; left > 0; left -= scratchBytes) {
      incoming.push(slot, 0, Math.min(left, scratchBytes))
    }
  }

  #answer(frame: Frame): void {
    const { metrics, clock } = this.#deps
    this.#progressMs = clock.nowMs()
    metrics.moved('target', 'write', frame.written.length, frame.writeBytes)
    for (const range of frame.written.splice(0)) range.release()
    if (frame.refused > 0) metrics.failed('target', new MooncakeError('ERR_ACCESS_DENIED'))
    encodeResponseHead(this.#socket.headView, frame.block, {
      sequence: frame.sequence,
      opCount: frame.opCount,
      hasStatuses: frame.refused > 0,
    })
    const done = (): void => {
      this.#forget(frame)
    }
    this.#socket.send({ vector: frame.outgoing, done })
    this.#awaitFrame()
  }

  /** The response is in the kernel: nothing touches the exposed ranges any more. */
  #forget(frame: Frame): void {
    const { metrics, clock } = this.#deps
    this.#progressMs = clock.nowMs()
    metrics.moved('target', 'read', frame.read.length, frame.readBytes)
    for (const range of frame.read) range.release()
    this.#frames.delete(frame)
    this.#freeBlocks.push(frame.block)
    if (this.#finishing && this.#frames.size === 0) this.finish()
    else if (this.#paused) this.#awaitFrame()
  }
}
