import { mkdtempSync, rmSync } from 'node:fs'
import {
  CLOCK,
  LOGGER,
  MEMORY,
  METRICS,
  mib,
  TIER,
  value,
  type Completion,
  type Host,
  type Logger,
  type MemoryProvider,
  type Metrics,
  type ObjectIdentity,
  type Region,
  type Tier,
  type TierAllocation,
} from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { collect, testHost, VirtualClock } from '@mooncake-ts/testkit'
import { ssd, type SsdOptions } from '@mooncake-ts/tier-ssd'
import { contentOf } from '../crash/content.js'
import { FaultyEngine } from './faulty-engine.js'

const signal = new AbortController().signal

/** One tier over a directory of its own and a disk that can fail, with what a test does to it. */
export class TierBench {
  readonly directory: string
  readonly clock = new VirtualClock()
  readonly lines: string[] = []
  engine!: FaultyEngine
  badObjects = 0
  #host: Host | undefined
  #regions: Region[] = []
  #generation = 1

  constructor(root = '/var/tmp') {
    this.directory = mkdtempSync(`${root}/mooncake-ssd-`)
  }

  get tier(): Tier {
    return this.#host!.get(TIER)
  }

  get memory(): MemoryProvider {
    return this.#host!.get(MEMORY)
  }

  /** @param prepare sees the disk before the tier does */
  async start(options: Partial<SsdOptions> = {}, prepare?: (engine: FaultyEngine) => void): Promise<void> {
    const createEngine = (): FaultyEngine => {
      this.engine = new FaultyEngine()
      prepare?.(this.engine)
      return this.engine
    }
    this.#host = await testHost([
      value(CLOCK, this.clock),
      value(LOGGER, this.#logger()),
      value(METRICS, this.#metrics()),
      memory(),
      ssd({ directory: this.directory, capacityBytes: mib(8), createEngine, ...options }),
    ])
  }

  async stop(): Promise<void> {
    await this.#host?.stop()
    for (const region of this.#regions.splice(0)) region.close()
    this.#host = undefined
  }

  async end(): Promise<void> {
    await this.stop()
    rmSync(this.directory, { recursive: true })
  }

  identity(key: string, byteLength: number): ObjectIdentity {
    return { key, generation: this.#generation++, byteLength }
  }

  region(byteLength: number): Region {
    const region = this.memory.createRegion({ byteLength: Math.max(1, byteLength) })
    this.#regions.push(region)
    return region
  }

  /** Writes an object, and gives its completion. */
  async write(allocation: TierAllocation, identity: ObjectIdentity): Promise<Completion> {
    const { byteLength } = identity
    const region = this.region(byteLength)
    region.view(0, byteLength).set(contentOf(identity))
    const from = { region, offset: 0, byteLength }
    return (await collect(this.tier.write([{ allocation, from }], { signal })))[0]!
  }

  /** Writes and commits. */
  async put(identity: ObjectIdentity): Promise<TierAllocation> {
    const allocation = this.tier.allocate(identity.byteLength)!
    const { error } = await this.write(allocation, identity)
    if (error != null) throw error
    await this.tier.commit!(allocation, identity)
    return allocation
  }

  /** Reads objects as one batch. */
  async read(
    ...allocations: readonly TierAllocation[]
  ): Promise<Array<Completion & { readonly bytesRead: Buffer }>> {
    const batch = allocations.map(allocation => {
      const { byteLength } = allocation
      return { allocation, offset: 0, into: { region: this.region(byteLength), offset: 0, byteLength } }
    })
    const completions = await collect(this.tier.read(batch, { signal }))
    return completions.map((completion, i) => {
      const { region, byteLength } = batch[i]!.into
      return { ...completion, bytesRead: Buffer.from(region.view(0, byteLength)) }
    })
  }

  async recover(): Promise<
    Array<{ readonly identity: ObjectIdentity; readonly allocation: TierAllocation }>
  > {
    const found = []
    for await (const one of this.tier.recover!()) found.push(one)
    return found.sort((a, b) => (a.identity.key < b.identity.key ? -1 : 1))
  }

  async recoveredKeys(): Promise<string[]> {
    return (await this.recover()).map(({ identity }) => identity.key)
  }

  #logger(): Logger {
    const note = (message: string): void => {
      this.lines.push(message)
    }
    const logger: Logger = { debug: note, info: note, warn: note, error: note, child: () => logger }
    return logger
  }

  #metrics(): Metrics {
    return {
      counter: () => ({ add: (amount = 1) => void (this.badObjects += amount) }),
      gauge: () => ({ set: () => {} }),
      histogram: () => ({ observe: () => {} }),
      expose: () => Promise.resolve({ contentType: '', body: '' }),
    }
  }
}
