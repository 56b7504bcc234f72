import { expect } from 'chai'
import type { BatchPlace, EvictionPolicy, EvictionPolicyFactory } from '@mooncake-ts/core'
import { randomUint32 } from '../helpers/random.js'

export interface EvictionPolicySetup {
  create(): EvictionPolicyFactory
}

const CAPACITY_BYTES = 100
const RANDOM_STEPS = 20_000
/** For the test of speed: so many steps are quick for O(1), and hopeless for O(n). */
const OBJECTS = 20_000
const DEADLINE_MS = 3_000

/**
 * Every promise that the EvictionPolicy contract makes, as tests.
 *
 * @example
 * evictionPolicyCompliance('LRU', { create: () => lru() })
 */
export function evictionPolicyCompliance(name: string, setup: EvictionPolicySetup): void {
  describe(`${name} keeps the EvictionPolicy contract`, () => {
    let tier: ModelTier
    beforeEach(() => {
      tier = new ModelTier(setup.create().create({ capacityBytes: CAPACITY_BYTES }))
    })

    it('has no victim in an empty tier', () => {
      expect(tier.policy.victim()).to.equal(undefined)
    })

    it('gives everything up, each once, when asked until nothing is left', () => {
      for (let i = 0; i < 1000; i++) tier.insert(`k${i}`)
      for (let left = 1000; left > 0; left--) tier.evict()
      expect(tier.policy.victim()).to.equal(undefined)
    })

    it('never gives up what is held, and gives it up when it is released', () => {
      const held = ['a', 'b', 'c'].map(key => tier.insert(key))
      held.forEach(slot => {
        tier.hold(slot)
      })
      expect(tier.policy.victim(), 'all are held').to.equal(undefined)
      const free = tier.insert('d')
      expect(tier.policy.victim()).to.equal(free)
      tier.evict()
      expect(tier.policy.victim(), 'all are held again').to.equal(undefined)
      held.forEach(slot => {
        tier.policy.hit(slot)
        tier.release(slot)
      })
      for (let left = held.length; left > 0; left--) tier.evict()
    })

    it('forgets what is removed, held or not, and takes its slot for another object', () => {
      const [a, b] = [tier.insert('a'), tier.insert('b')]
      tier.hold(a)
      tier.remove(a, false)
      tier.remove(b, false)
      expect(tier.policy.victim()).to.equal(undefined)
      expect([tier.insert('c'), tier.insert('d')], 'reused').to.have.members([a, b])
      tier.evict()
      tier.evict()
    })

    it('gives the same answer when it is asked twice', () => {
      for (let i = 0; i < 50; i++) tier.use(tier.insert(`k${i % 40}`, { index: i % 5, count: 5 }))
      expect(tier.policy.victim()).to.equal(tier.policy.victim())
    })

    it(`keeps all of it through ${RANDOM_STEPS} random steps`, () => {
      const random = randomUint32(1)
      for (let i = 0; i < RANDOM_STEPS; i++) tier.step(random)
      tier.releaseAll()
      while (tier.count > 0) tier.evict()
      expect(tier.policy.victim()).to.equal(undefined)
    }).timeout(4 * DEADLINE_MS)

    it('takes the same time however many objects there are', () => {
      const startMs = performance.now()
      const { policy } = tier
      for (let slot = 0; slot < OBJECTS; slot++) policy.insert(slot, { key: `k${slot}`, byteLength: 1 })
      for (let slot = 0; slot < OBJECTS; slot += 2) policy.hold(slot)
      let steps = 0
      for (; steps < 4 * OBJECTS && performance.now() - startMs < DEADLINE_MS; steps++) {
        const slot = policy.victim()!
        policy.remove(slot, true)
        policy.insert(slot, { key: `n${steps}`, byteLength: 1 })
        policy.hit((slot + 7) % OBJECTS)
      }
      expect(steps, `steps in ${DEADLINE_MS} ms`).to.equal(4 * OBJECTS)
    }).timeout(4 * DEADLINE_MS)
  })
}

/** Calls a policy as an owner may, and knows what must not be its victim. */
class ModelTier {
  readonly policy: EvictionPolicy
  readonly #present = new Map<number, string>()
  readonly #held = new Set<number>()
  readonly #freeSlots: number[] = []
  #slotCount = 0

  constructor(policy: EvictionPolicy) {
    this.policy = policy
  }

  get count(): number {
    return this.#present.size
  }

  insert(key: string, place?: BatchPlace): number {
    const slot = this.#freeSlots.pop() ?? this.#slotCount++
    this.#present.set(slot, key)
    this.policy.insert(slot, { key, byteLength: 1 + (slot % 3) }, place)
    return slot
  }

  /** As a reader does. */
  use(slot: number): void {
    this.hold(slot)
    this.policy.hit(slot)
    this.release(slot)
  }

  hold(slot: number): void {
    this.#held.add(slot)
    this.policy.hold(slot)
  }

  release(slot: number): void {
    this.#held.delete(slot)
    this.policy.release(slot)
  }

  releaseAll(): void {
    for (const slot of this.#held) this.release(slot)
  }

  remove(slot: number, evicted: boolean): void {
    this.#present.delete(slot)
    this.#held.delete(slot)
    this.#freeSlots.push(slot)
    this.policy.remove(slot, evicted)
  }

  /** There must be a victim. */
  evict(): void {
    const slot = this.policy.victim()
    expect(slot != null && this.#present.has(slot), `a victim that is here: ${slot}`).to.equal(true)
    expect(this.#held.has(slot!), `a victim that is not held: ${slot}`).to.equal(false)
    this.remove(slot!, true)
  }

  /** Whatever the dice say, if it is allowed now. */
  step(random: () => number): void {
    const kind = random() % 16
    const present = [...this.#present.keys()]
    const slot = present[random() % present.length]
    const free = present.length > this.#held.size
    if (kind < 5) this.insert(`k${random() % 500}`, kind < 2 ? undefined : { index: kind - 2, count: 3 })
    if (slot == null) return
    if (kind >= 5 && kind < 9) this.policy.hit(slot)
    else if (kind === 9 && !this.#held.has(slot)) this.hold(slot)
    else if (kind === 10 && this.#held.has(slot)) this.release(slot)
    else if (kind === 11) this.remove(slot, false)
    else if (kind > 11 && free) this.evict()
    else if (kind > 11) expect(this.policy.victim(), 'all are held').to.equal(undefined)
  }
}
