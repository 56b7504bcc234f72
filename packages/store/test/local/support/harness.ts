import { noMetrics, silentLogger, type Slice, type Tier } from '@mooncake-ts/core'
import { createMemory, type Memory } from '@mooncake-ts/memory'
import { VirtualClock } from '@mooncake-ts/testkit'
import {
  TieredBackend,
  type ObjectMeta,
  type RemoveReason,
  type Reservation,
  type TieredBackendInit,
} from '../../../dist/local/tiered-backend.js'
import { PoisonTier } from './tiers.js'

export const NEVER = new AbortController().signal

export interface Gone {
  readonly key: string
  readonly generation: number
  readonly tier: string
  readonly reason: RemoveReason
}

/** A backend with all that it needs, and what it told of its objects. */
export class Harness implements AsyncDisposable {
  readonly clock = new VirtualClock()
  readonly memory: Memory = createMemory({ copyThreads: 1 })
  readonly gone: Gone[] = []
  readonly come: string[] = []
  readonly tiers: readonly Tier[]
  readonly backend: TieredBackend

  constructor(tiers: (memory: Memory) => readonly Tier[], options: Partial<TieredBackendInit> = {}) {
    this.tiers = tiers(this.memory)
    this.backend = new TieredBackend({
      tiers: this.tiers,
      memory: this.memory,
      clock: this.clock,
      logger: silentLogger,
      metrics: noMetrics,
      evictionHighWatermark: 1,
      evictionLowWatermark: 1,
      waitingReservationsMax: 100,
      events: {
        committed: (meta, tier) => void this.come.push(`${meta.key}@${meta.generation} ${tier.name}`),
        copied: (meta, tier) => void this.come.push(`${meta.key}@${meta.generation} ${tier.name}`),
        removed: ({ key, generation }, tier, reason) =>
          void this.gone.push({ key, generation, tier: tier.name, reason }),
      },
      ...options,
    })
  }

  static dram(capacityBytes: number, options: Partial<TieredBackendInit> = {}): Harness {
    return new Harness(memory => [poisonTier(memory, capacityBytes)], options)
  }

  get evicted(): string[] {
    return this.gone.filter(({ reason }) => reason === 'evicted').map(({ key }) => key)
  }

  /** Space now, or the test is wrong. */
  space(byteLength: number): Reservation {
    const reservation = this.backend.reserveNow(byteLength)
    if (reservation == null) throw new Error(`There is no space for ${byteLength} bytes`)
    return reservation
  }

  wait(byteLength: number, deadlineMs = 1000, signal: AbortSignal = NEVER): Promise<Reservation> {
    return this.backend.reserve(byteLength, { deadlineMs, signal })
  }

  /** Every byte of the object is `content`. */
  async put(
    key: string,
    byteLength: number,
    options: PutOptions = {},
  ): Promise<'committed' | 'exists' | 'stale'> {
    return await this.commit(this.space(byteLength), key, options)
  }

  async commit(
    reservation: Reservation,
    key: string,
    options: PutOptions = {},
  ): Promise<'committed' | 'exists' | 'stale'> {
    const { content = 1, mode = 'put', ...pins } = options
    const { byteLength } = reservation
    await this.backend.fill(reservation, this.bytes(byteLength, content), NEVER)
    return await this.backend.commit(reservation, metaOf(key, byteLength, pins), mode)
  }

  bytes(byteLength: number, content: number): Slice {
    return { region: this.memory.wrap(new Uint8Array(byteLength).fill(content)), offset: 0, byteLength }
  }

  /** The whole value as a reader sees it; undefined for a miss. */
  async get(key: string): Promise<Uint8Array | undefined> {
    using lease = this.backend.acquire(key)
    if (lease == null) return undefined
    const into = this.bytes(lease.meta.byteLength, 0)
    await this.backend.readInto(lease, 0, into, NEVER)
    return into.region.view(0, into.byteLength)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.backend.close()
    await this.memory.close()
  }
}

export interface PutOptions {
  readonly content?: number
  readonly mode?: 'put' | 'upsert'
  readonly generation?: number
  readonly checksum?: number
  readonly softPin?: boolean
  readonly hardPin?: boolean
}

export function metaOf(
  key: string,
  byteLength: number,
  options: Omit<PutOptions, 'content' | 'mode'> = {},
): ObjectMeta {
  return { key, byteLength, generation: 1, softPin: false, hardPin: false, ...options }
}

export function poisonTier(
  memory: Memory,
  capacityBytes: number,
  name?: string,
  priority?: number,
): PoisonTier {
  return new PoisonTier(memory.createRegion({ byteLength: capacityBytes }), name, priority)
}

/** The code that a promise is rejected with. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

export function thrownCode(fn: () => unknown): string | undefined {
  try {
    fn()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

/** Lets everything run that is not waiting for a clock, a device or a test. */
export function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(() => setImmediate(resolve)))
}
