import { markAsUntransferable } from 'node:worker_threads'
import { MooncakeError, type Region } from '@mooncake-ts/core'
import { Staging, type NativeEngine } from './native.js'
import { Operations } from './operations.js'
import { EngineRing, type RingHost } from './ring.js'
import type { IoEngine, IoEngineStats } from './types.js'

// Delivered at once. What promises and microtasks make of them comes before the next, so whoever waits for the
// first ones goes on early.
const BATCH_OPERATIONS = 32

export interface EngineSetup {
  readonly kind: 'io_uring' | 'threads'
  readonly reason: string
  readonly bulkThreads: number
  /** Makes the native part, which calls `onReady` when something ended. */
  open(completions: Float64Array, onReady: () => void): NativeEngine
}

/** The JavaScript half of an engine: delivers completions, and closes when nothing is in flight. */
export class Engine implements IoEngine, RingHost {
  readonly kind: 'io_uring' | 'threads'
  readonly reason: string
  readonly inline: EngineRing
  readonly bulk: readonly EngineRing[]
  readonly native: NativeEngine
  readonly operations = new Operations()
  delivering = false
  closed = false
  finished = false

  private readonly rings: readonly EngineRing[]
  private readonly completions = new Float64Array(2 * BATCH_OPERATIONS)
  private descriptors = new Float64Array(0)
  private closing: Promise<void> | undefined
  private onFinished: (() => void) | undefined
  private lastStats: IoEngineStats | undefined

  constructor(setup: EngineSetup) {
    this.kind = setup.kind
    this.reason = setup.reason
    this.native = setup.open(this.completions, this.deliver)
    this.staging(Staging.vector + 3 * 64)
    this.inline = new EngineRing(this, 0)
    // The threads engine has one ring, under every name.
    this.bulk = Array.from({ length: setup.bulkThreads }, (_, i) =>
      setup.kind === 'threads' ? this.inline : new EngineRing(this, i + 1),
    )
    this.rings = setup.kind === 'threads' ? [this.inline] : [this.inline, ...this.bulk]
  }

  staging(numbers: number): Float64Array {
    if (numbers > this.descriptors.length) {
      this.descriptors = new Float64Array(Math.max(numbers, 2 * this.descriptors.length))
      this.native.setStaging(this.descriptors)
    }
    return this.descriptors
  }

  attach(memory: Region | Uint8Array): number {
    if (this.closed) throw new MooncakeError('ERR_SHUTTING_DOWN', 'The io engine was closed')
    if (!(memory instanceof Uint8Array)) {
      if (memory.closed) throw new MooncakeError('ERR_REGION_CLOSED')
      return this.attachNative(memory.handle)
    }
    const { buffer } = memory
    if ('resizable' in buffer && buffer.resizable === true) {
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        'A resizable ArrayBuffer cannot be attached: its memory may move',
      )
    }
    // Another thread must not become the owner of memory that the kernel writes to.
    if (buffer instanceof ArrayBuffer) markAsUntransferable(buffer)
    return this.attachNative(memory)
  }

  detach(slot: number): void {
    if (!this.finished) this.native.detach(slot)
  }

  stats(): IoEngineStats {
    return this.lastStats ?? this.native.stats()
  }

  ref(): void {
    if (!this.finished) this.native.setReferenced(true)
  }

  unref(): void {
    if (!this.finished) this.native.setReferenced(false)
  }

  close(): Promise<void> {
    this.closing ??= new Promise(resolve => {
      this.onFinished = resolve
      this.closed = true
      this.native.setReferenced(true)
      this.native.cancelAll()
      this.finishWhenIdle()
    })
    return this.closing
  }

  private attachNative(memory: unknown): number {
    const slot = this.native.attach(memory)
    if (slot < 0)
      throw new MooncakeError(
        'ERR_INVALID_PARAMS',
        'The memory is neither a Region of this version nor a Uint8Array',
      )
    return slot
  }

  private readonly deliver = (): void => {
    if (this.finished) return
    this.delivering = true
    this.callBack(this.native.drain())
    for (const ring of this.rings) ring.flush()
    this.delivering = false
    if (this.closed) this.finishWhenIdle()
  }

  private callBack(count: number): void {
    // All are taken out first: a callback may prepare operations, which use the indexes again.
    const ended = new Array<(result: number) => void>(count)
    for (let i = 0; i < count; i++) ended[i] = this.operations.end(this.completions[2 * i] as number)
    for (let i = 0; i < count; i++) {
      try {
        ;(ended[i] as (result: number) => void)(this.completions[2 * i + 1] as number)
      } catch (error) {
        // The other callbacks come first; this error surfaces as an uncaught exception.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  private finishWhenIdle(): void {
    if (this.finished || this.delivering) return
    const stats = this.native.stats()
    if (stats.inFlight > 0) return
    this.finished = true
    this.native.close()
    this.lastStats = { ...stats, attachedSlots: 0 }
    this.onFinished?.()
  }
}
