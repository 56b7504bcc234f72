import type { Clock, Logger, Metrics } from '@mooncake-ts/core'
import type { Replica } from '../local/object-table.js'
import type { Room } from '../local/room.js'
import type { TierSpace } from '../local/tier-space.js'
import { BackgroundGate } from './background-gate.js'
import { Demoter, type DemoterInit } from './demoter.js'
import { FrequencySketch } from './frequency-sketch.js'
import { levelsOf, type Level } from './level.js'
import { Promoter } from './promoter.js'
import { ReplicaMover, type ReplicaMoverInit } from './replica-mover.js'
import type { SchedulerConfig } from './scheduler-config.js'
import { SchedulerMetrics } from './scheduler-metrics.js'

/** What is left goes on in the next turn of the event loop. */
const STEPS_PER_TURN = 256

export interface TierSchedulerInit extends ReplicaMoverInit, Pick<DemoterInit, 'drop' | 'mayMove'> {
  readonly config: Required<SchedulerConfig>
  readonly room: Room
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Foreground operations that wait for their turn. */
  readonly foregroundWaiting: () => number
}

/**
 * Moves objects between the tiers of one node in the background: down what a tier will soon have to evict, up
 * what is read often. It is told of every use and every reservation, and decides in turns of its own, so
 * callers never wait for it.
 */
export class TierScheduler {
  readonly #gate: BackgroundGate
  readonly #sketch: FrequencySketch
  readonly #demoter: Demoter
  readonly #promoter: Promoter
  readonly #levels: ReadonlyMap<TierSpace, Level>
  readonly #config: Required<SchedulerConfig>
  readonly #closing = new AbortController()
  #scheduled: NodeJS.Immediate | undefined
  #demoterFirst = true

  constructor(init: TierSchedulerInit) {
    const { config, clock, room } = init
    this.#config = config
    this.#gate = new BackgroundGate({
      clock,
      opsMax: config.backgroundOpsMax,
      bytesMax: config.backgroundBytesMax,
      progressMs: config.backgroundProgressMs,
      waiting: init.foregroundWaiting,
      onOpen: () => {
        this.#poke()
      },
    })
    this.#sketch = new FrequencySketch(config.sketchKeysMax)
    const levels = levelsOf(room.spaces, config)
    this.#levels = new Map(levels.map(level => [level.space, level]))
    const metrics = new SchedulerMetrics(init.metrics, {
      ops: () => this.#gate.ops,
      bytes: () => this.#gate.bytes,
      promotionsQueued: () => this.#promoter.queued,
    })
    const { signal } = this.#closing
    const mover = new ReplicaMover(init)
    const common = { ...init, mover, gate: this.#gate, sketch: this.#sketch, metrics, signal }
    this.#demoter = new Demoter({ ...common, accessesMin: config.demotionAccessesMin }, levels)
    this.#promoter = new Promoter(
      { ...common, accessesMin: config.promotionAccessesMin, queuedMax: config.promotionsQueuedMax },
      levels,
    )
  }

  /** An object was put. */
  onStored(key: string): void {
    this.#sketch.increment(key)
  }

  /** A replica is about to be read. */
  onUsed(replica: Replica): void {
    this.#sketch.increment(replica.object.key)
    this.#demoter.onUsed(replica)
    if (this.#config.promotion && this.#promoter.onUsed(replica)) this.#poke()
  }

  /** A tier gave space away. */
  onTaken(space: TierSpace): void {
    if (this.#config.demotion && this.#demoter.onTaken(this.#levels.get(space)!)) this.#poke()
  }

  /** Space came back somewhere, or can be evicted now. */
  onGrown(): void {
    if (this.#demoter.due) this.#poke()
  }

  /** A foreground operation is at a device. */
  beginForeground(): void {
    this.#gate.beginForeground()
  }

  endForeground(): void {
    this.#gate.endForeground()
  }

  /** Begins nothing more and ends what runs; that is at rest when the backend is. */
  close(): void {
    this.#closing.abort()
    this.#gate[Symbol.dispose]()
    clearImmediate(this.#scheduled)
  }

  #poke(): void {
    if (this.#closing.signal.aborted) return
    this.#scheduled ??= setImmediate(this.#run)
  }

  readonly #run = (): void => {
    this.#scheduled = undefined
    for (let step = 0; step < STEPS_PER_TURN; step++) {
      if (this.#closing.signal.aborted || !this.#step()) return
    }
    this.#poke()
  }

  /** In turns, so that neither direction starves the other. */
  #step(): boolean {
    this.#demoterFirst = !this.#demoterFirst
    return this.#demoterFirst
      ? this.#demoter.step() || this.#promoter.step()
      : this.#promoter.step() || this.#demoter.step()
  }
}
