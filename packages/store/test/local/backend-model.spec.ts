import type { EvictionPolicyFactory } from '@mooncake-ts/core'
import { hitDensity, lru, s3Fifo } from '@mooncake-ts/store'
import { expect } from 'chai'
import fc from 'fast-check'
import type { Lease, Reservation } from '../../dist/local/tiered-backend.js'
import { Harness, metaOf, NEVER, poisonTier, settled } from './support/harness.js'
import type { PoisonTier } from './support/tiers.js'

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f']
const CAPACITY_BYTES = 64

const COMPOSITIONS = [
  [1, hitDensity()],
  [2, hitDensity()],
  [2, lru()],
  [2, s3Fifo()],
] as const

const key = fc.constantFrom(...KEYS)
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      byteLength: fc.integer({ min: 0, max: 40 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('commit' as const),
      key,
      pick: fc.nat(),
      upsert: fc.boolean(),
      age: fc.integer({ min: 0, max: 3 }),
      pin: fc.constantFrom('none', 'none', 'none', 'soft', 'hard'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('acquire' as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), key }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('advance' as const), byMs: fc.integer({ min: 1, max: 400 }) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** What must be true of any node, told by what it was asked and what it told. */
class Model {
  readonly h: Harness
  readonly tiers: PoisonTier[] = []
  readonly reservations: Reservation[] = []
  readonly leases: Array<{ lease: Lease; generation: number }> = []
  readonly current = new Map<string, { generation: number; byteLength: number; hard: boolean }>()
  readonly #waits: Promise<unknown>[] = []
  #generation = 10

  constructor(tierCount: number, evictionPolicy: EvictionPolicyFactory) {
    const names = ['fast', 'slow'].slice(0, tierCount)
    this.h = new Harness(
      memory => {
        this.tiers.push(...names.map((name, i) => poisonTier(memory, CAPACITY_BYTES, name, 100 - i)))
        return this.tiers
      },
      {
        evictionHighWatermark: 0.9,
        evictionLowWatermark: 0.6,
        waitingReservationsMax: 5,
        evictionPolicy,
        events: {
          committed: ({ key, generation, byteLength, hardPin }) => {
            this.current.set(key, { generation, byteLength, hard: hardPin })
          },
          copied: () => {},
          removed: (meta, _tier, reason) => {
            const known = this.current.get(meta.key)
            expect(known?.generation, 'an object that leaves was current').to.equal(meta.generation)
            if (reason === 'evicted') expect(known?.hard, 'a hard pin was evicted').to.equal(false)
            this.current.delete(meta.key)
          },
        },
      },
    )
  }

  async run(one: Step): Promise<void> {
    if (one.kind === 'reserve') this.#reserve(one.byteLength)
    else if (one.kind === 'commit') await this.#commit(one)
    else if (one.kind === 'abandon') take(this.reservations, one.pick)?.abandon()
    else if (one.kind === 'acquire') this.#acquire(one.key)
    else if (one.kind === 'release') this.#release(one.pick)
    else if (one.kind === 'remove') this.#remove(one.key)
    else await this.h.clock.advance(one.byMs)
    await settled()
    this.check()
  }

  /** Lets go of everything. */
  async end(): Promise<void> {
    await this.h.clock.advance(10_000)
    await Promise.all(this.#waits)
    this.reservations.splice(0).forEach(reservation => {
      reservation.abandon()
    })
    while (this.leases.length > 0) this.#release(0)
    await this.h.backend.removeWhere(() => true)
    expect(this.tiers.map(tier => tier.usedBytes)).to.deep.equal(this.tiers.map(() => 0))
    expect(this.tiers.map(tier => tier.held.size)).to.deep.equal(this.tiers.map(() => 0))
    expect(this.current.size).to.equal(0)
    await this.h[Symbol.asyncDispose]()
  }

  check(): void {
    const { backend } = this.h
    const listed = new Map([...backend.entries()].map(({ meta }) => [meta.key, meta.generation]))
    expect(listed, 'what it lists is what it told').to.deep.equal(
      new Map([...this.current].map(([name, { generation }]) => [name, generation])),
    )
    expect(backend.keyCount).to.equal(this.current.size)
    for (const { lease, generation } of this.leases) expectBytes(lease, generation)
  }

  #remove(name: string): void {
    const had = this.current.has(name)
    expect(this.h.backend.remove(name)).to.equal(had)
  }

  #reserve(byteLength: number): void {
    const wait = this.h.wait(byteLength, 500).then(
      reservation => this.reservations.push(reservation),
      (error: { code: string }) => {
        expect(error.code).to.be.oneOf(['ERR_NO_AVAILABLE_HANDLE', 'ERR_OVERLOADED'])
      },
    )
    this.#waits.push(wait)
  }

  async #commit(one: Extract<Step, { kind: 'commit' }>): Promise<void> {
    const reservation = take(this.reservations, one.pick)
    if (reservation == null) return
    const before = this.current.get(one.key)
    const generation = ++this.#generation - one.age * 2 // Some come late.
    const { byteLength } = reservation
    await this.h.backend.fill(reservation, this.h.bytes(byteLength, generation % 200), NEVER)
    const meta = metaOf(one.key, byteLength, {
      generation,
      softPin: one.pin === 'soft',
      hardPin: one.pin === 'hard',
    })
    const outcome = await this.h.backend.commit(reservation, meta, one.upsert ? 'upsert' : 'put')
    const stale = before != null && before.generation > generation
    expect(outcome).to.equal(
      before == null ? 'committed' : !one.upsert ? 'exists' : stale ? 'stale' : 'committed',
    )
  }

  #acquire(name: string): void {
    const lease = this.h.backend.acquire(name)
    expect(lease?.meta.generation).to.equal(this.current.get(name)?.generation)
    if (lease != null) this.leases.push({ lease, generation: lease.meta.generation })
  }

  #release(pick: number): void {
    const held = take(this.leases, pick)
    if (held == null) return
    expectBytes(held.lease, held.generation)
    held.lease.release()
  }
}

function expectBytes({ slice, meta }: Lease, generation: number): void {
  if (slice == null) return
  const bytes = slice.region.view(slice.offset, slice.byteLength)
  expect(bytes.length).to.equal(meta.byteLength)
  expect([...new Set(bytes)], `bytes of ${meta.key}@${generation}`).to.deep.equal([generation % 200])
}

function take<T>(list: T[], pick: number): T | undefined {
  return list.length === 0 ? undefined : list.splice(pick % list.length, 1)[0]
}

describe('TieredBackend: any sequence', () => {
  for (const [tierCount, evictionPolicy] of COMPOSITIONS) {
    it(`shows readers their bytes, frees all in the end and never a held piece: ${tierCount} tier(s), ${evictionPolicy.name}`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 80, size: 'max' }), async steps => {
          const model = new Model(tierCount, evictionPolicy)
          for (const one of steps) await model.run(one)
          await model.end()
        }),
        { numRuns: 150 },
      )
    }).timeout(20_000)
  }
})
