import {
  MEMORY,
  TIER,
  type Host,
  type MemoryProvider,
  type Plugin,
  type Tier,
  type TierAllocation,
} from '@mooncake-ts/core'
import { collect } from '../../helpers/watch.js'
import { testHost } from '../../helpers/test-host.js'
import { Arena, assertSameBytes, copyOf, neverAborted } from '../arena.js'

export interface TierSetup {
  /** A tier over an empty place, with room for at least 8 MiB. Called for every test. */
  create(): Plugin<Tier> | Promise<Plugin<Tier>>
  /** What the tier was given; it must not say that it has more. @defaultValue not checked */
  readonly capacityBytes?: number
  /** The same place again, as after a restart of the process. Tiers with `persistence` need it. */
  reopen?(): Plugin<Tier> | Promise<Plugin<Tier>>
  /** Runs after every test, when the tier has stopped. */
  teardown?(): Promise<void> | void
}

/** One running tier, and how tests put objects into it. */
export class TierFixture {
  readonly setup: TierSetup
  tier!: Tier
  arena!: Arena
  #host: Host | undefined

  constructor(setup: TierSetup) {
    this.setup = setup
  }

  async open(plugin: Plugin<Tier>): Promise<void> {
    this.#host = await testHost([plugin])
    this.tier = this.#host.get(TIER)
    this.arena = new Arena(this.memory)
  }

  get memory(): MemoryProvider {
    return this.#host!.get(MEMORY)
  }

  /** Stops the tier, while the memory that tests hold stays open. */
  async stop(): Promise<void> {
    await this.#host?.stop()
  }

  async close(): Promise<void> {
    await this.stop()
    this.arena?.close()
    await this.setup.teardown?.()
  }

  async restart(): Promise<void> {
    const { reopen } = this.setup
    if (reopen == null) throw new Error('A tier with `persistence` needs `reopen` in its compliance setup')
    await this.stop()
    this.arena.close()
    await this.open(await reopen.call(this.setup))
  }

  allocate(byteLength: number): TierAllocation {
    const allocation = this.tier.allocate(byteLength)
    if (allocation == null)
      throw new Error(`The tier has no room for ${byteLength} bytes; the suite needs 8 MiB`)
    return allocation
  }

  async put(bytes: Uint8Array): Promise<TierAllocation> {
    const allocation = this.allocate(bytes.byteLength)
    await this.rewrite(allocation, bytes)
    return allocation
  }

  async rewrite(allocation: TierAllocation, bytes: Uint8Array): Promise<void> {
    const batch = [{ allocation, from: this.arena.holding(bytes) }]
    const [completion] = await collect(this.tier.write(batch, { signal: neverAborted }))
    if (completion?.error != null) throw completion.error
  }

  async get(allocation: TierAllocation): Promise<Uint8Array> {
    const into = this.arena.blank(allocation.byteLength)
    const [completion] = await collect(
      this.tier.read([{ allocation, offset: 0, into }], { signal: neverAborted }),
    )
    if (completion?.error != null) throw completion.error
    return copyOf(into)
  }

  async assertHolds(allocation: TierAllocation, bytes: Uint8Array): Promise<void> {
    assertSameBytes(await this.get(allocation), bytes, `object ${allocation.id}`)
  }
}
