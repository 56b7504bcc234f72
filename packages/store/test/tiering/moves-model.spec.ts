import { MooncakeError } from '@mooncake-ts/core'
import { until } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import fc from 'fast-check'
import { SCHEDULER_DEFAULTS } from '../../dist/tiering/scheduler-config.js'
import type { RemoveReason } from '../../dist/local/tiered-backend.js'
import { Harness, metaOf, NEVER, poisonTier, settled } from '../local/support/harness.js'
import { MapTier, type PoisonTier } from '../local/support/tiers.js'

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l']
const key = fc.constantFrom(...KEYS)
const device = fc.nat({ max: 1 })

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      key,
      byteLength: fc.integer({ min: 0, max: 24 }),
      upsert: fc.boolean(),
      pin: fc.constantFrom(...Array<'none'>(8).fill('none'), 'soft', 'hard'),
    }),
  },
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('hold' as const), device }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('letGo' as const), device }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('break' as const), device, on: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('advance' as const), byMs: fc.nat({ max: 1200 }) }) },
  { weight: 8, arbitrary: fc.constant({ kind: 'turn' as const }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** A node whose devices are slow and break as the test says, and what a directory would know of it. */
class Model {
  readonly h: Harness
  readonly devices: MapTier[] = []
  fast!: PoisonTier
  /** Key → tier → generation, by what the backend told. */
  readonly told = new Map<string, Map<string, number>>()
  readonly copies = { up: 0, down: 0 }
  readonly #running = new Set<Promise<unknown>>()
  #generation = 1

  constructor(deviceCount: number) {
    this.h = new Harness(
      memory => {
        this.fast = poisonTier(memory, 64)
        for (let i = 0; i < deviceCount; i++) this.devices.push(new MapTier(100, {}, `disk-${i}`, 50 - i))
        return [this.fast, ...this.devices]
      },
      {
        evictionHighWatermark: 0.9,
        evictionLowWatermark: 0.6,
        scheduler: {
          ...SCHEDULER_DEFAULTS,
          promotionAccessesMin: 1,
          demotionLowWatermark: 0.5,
          backgroundOpsMax: 2,
        },
        events: {
          committed: ({ key, generation }, tier) => {
            this.told.set(key, new Map([[tier.name, generation]])) // What was there is replaced.
          },
          copied: ({ key, generation }, tier) => {
            const tiers = this.told.get(key)!
            expect([...tiers.values()], 'a copy of what is current').to.include(generation)
            expect(tiers.has(tier.name), 'one replica in a tier').to.equal(false)
            tiers.set(tier.name, generation)
            this.copies[tier === this.fast ? 'up' : 'down']++
          },
          removed: ({ key, generation }, tier, reason) => {
            this.#onRemoved(key, generation, tier.name, reason)
          },
        },
      },
    )
  }

  async run(one: Step): Promise<void> {
    if (one.kind === 'put') this.#track(this.#put(one))
    else if (one.kind === 'get') this.#track(this.#get(one.key))
    else if (one.kind === 'remove') this.h.backend.remove(one.key)
    else if (one.kind === 'hold') this.#deviceOf(one.device).hold = true
    else if (one.kind === 'letGo') this.#deviceOf(one.device).letGo()
    else if (one.kind === 'break') {
      const error = one.on ? new MooncakeError('ERR_IO', 'broken') : undefined
      this.#deviceOf(one.device).writeError = error
    } else if (one.kind === 'advance') await this.h.clock.advance(one.byMs)
    else await settled()
    this.check()
  }

  check(): void {
    const listed = new Map<string, Map<string, number>>()
    for (const { meta, tier } of this.h.backend.entries()) {
      if (!listed.has(meta.key)) listed.set(meta.key, new Map())
      listed.get(meta.key)!.set(tier.name, meta.generation)
    }
    expect(listed, 'what it lists is what it told').to.deep.equal(this.told)
    for (const { usedBytes, capacityBytes, name } of this.h.tiers) {
      expect(usedBytes, name).to.be.at.most(capacityBytes)
    }
  }

  /** Lets everything end, and looks for what was forgotten. */
  async end(closeEarly: boolean): Promise<void> {
    const closing = closeEarly ? this.h.backend.close() : undefined
    await this.h.clock.advance(1)
    const deadline = Date.now() + 5000
    while (this.#running.size > 0 && Date.now() < deadline) {
      for (const each of this.devices) each.letGo()
      await this.h.clock.advance(1000)
    }
    expect(this.#running.size).to.equal(0)
    for (const each of this.devices) each.letGo()
    this.check()
    await (closing ?? this.h.backend.close())
    await this.h.backend.removeWhere(() => true)
    await until(() => this.h.tiers.every(({ usedBytes }) => usedBytes === 0))
    expect(this.fast.held.size).to.equal(0)
    for (const each of this.devices) expect([...each.identities.keys()]).to.deep.equal([])
    expect(this.told.size).to.equal(0)
    expect(this.h.clock.pending).to.equal(0)
    await this.h[Symbol.asyncDispose]()
  }

  #onRemoved(key: string, generation: number, tier: string, reason: RemoveReason): void {
    const tiers = this.told.get(key)
    if (reason === 'replaced') return
    expect(tiers?.get(tier), `${key} leaves ${tier}: ${reason}`).to.equal(generation)
    tiers!.delete(tier)
    if (reason === 'demoted') expect(tiers!.size, 'a moved object is always visible').to.be.above(0)
    if (tiers!.size === 0) this.told.delete(key)
  }

  async #put({ key, byteLength, upsert, pin }: Extract<Step, { kind: 'put' }>): Promise<void> {
    const { backend } = this.h
    const generation = ++this.#generation
    try {
      const reservation = await this.h.wait(byteLength, 500)
      try {
        await backend.fill(reservation, this.h.bytes(byteLength, generation % 200), NEVER)
      } catch (error) {
        reservation.abandon()
        throw error
      }
      const pins = { softPin: pin === 'soft', hardPin: pin === 'hard' }
      await backend.commit(
        reservation,
        metaOf(key, byteLength, { generation, ...pins }),
        upsert ? 'upsert' : 'put',
      )
    } catch (error) {
      expect((error as { code?: string }).code).to.be.oneOf([
        'ERR_NO_AVAILABLE_HANDLE',
        'ERR_IO',
        'ERR_SHUTTING_DOWN',
      ])
    }
  }

  async #get(name: string): Promise<void> {
    const known = this.told.get(name)
    using lease = this.h.backend.acquire(name)
    expect(lease == null, 'a miss is what the directory does not know').to.equal(known == null)
    if (lease == null) return
    const { byteLength, generation } = lease.meta
    const into = this.h.bytes(byteLength, 255)
    await this.h.backend.readInto(lease, 0, into, NEVER)
    const bytes = into.region.view(0, byteLength)
    expect([...new Set(bytes)], `${name}@${generation}`).to.deep.equal(
      byteLength === 0 ? [] : [generation % 200],
    )
  }

  #deviceOf(index: number): MapTier {
    return this.devices[index % this.devices.length]!
  }

  #track(promise: Promise<void>): void {
    const tracked: Promise<unknown> = promise.catch((error: unknown) => {
      this.#failures.push(error)
    })
    this.#running.add(tracked)
    void tracked.then(() => this.#running.delete(tracked))
  }

  readonly #failures: unknown[] = []

  /** Of gets and puts. */
  assertNoFailures(): void {
    if (this.#failures.length > 0) throw this.#failures[0]
  }
}

describe('TierScheduler: any sequence', () => {
  for (const deviceCount of [1, 2]) {
    it(`gives right bytes or a clean miss, keeps its books and frees all in the end, over ${deviceCount + 1} tiers`, async () => {
      const copies = { up: 0, down: 0 }
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 120, size: 'max' }),
          fc.boolean(),
          async (steps, early) => {
            const model = new Model(deviceCount)
            for (const one of steps) await model.run(one)
            await model.end(early)
            model.assertNoFailures()
            copies.up += model.copies.up
            copies.down += model.copies.down
          },
        ),
        { numRuns: 80 },
      )
      expect(copies.up, 'promotions').to.be.above(5)
      expect(copies.down, 'demotions').to.be.above(50)
    }).timeout(30_000)
  }
})
