import { expect } from 'chai'
import fc from 'fast-check'
import { hashOf, KeyIndex } from '../dist/routes/key-index.js'

describe('KeyIndex', () => {
  it('does what a Map does, also when hashes collide', () => {
    // Few hashes, with the same low bits: long runs of probes that wrap around, and full collisions.
    const hash = fc.constantFrom(63, 127, 62, 0, 1, 191)
    const steps = fc.array(fc.record({ name: fc.nat(30), hash, remove: fc.boolean() }), { maxLength: 200 })
    fc.assert(
      fc.property(steps, sequence => {
        const index = new KeyIndex()
        const keys: Array<string | undefined> = []
        const model = new Map<string, { slot: number; hash: number }>()
        for (const step of sequence) {
          const key = `key-${step.name}-${step.hash}`
          const known = model.get(key)
          expect(index.find(key, step.hash, keys)).to.equal(known?.slot)
          if (known == null) {
            model.set(key, { slot: keys.push(key) - 1, hash: step.hash })
            index.insert(step.hash, keys.length - 1)
          } else if (step.remove) {
            index.remove(known.hash, known.slot)
            model.delete(key)
          }
          expect(index.size).to.equal(model.size)
        }
        for (const [key, known] of model) expect(index.find(key, known.hash, keys)).to.equal(known.slot)
      }),
    )
  })

  it('spreads keys of every make over shards and buckets', () => {
    const makes: Array<(i: number) => string> = [
      i => `key-${i}`,
      i => i.toString(16).padStart(64, '0'),
      i => `prefix/${String(i).padStart(8, '0')}/a-long-suffix-that-all-of-them-share`,
      i => String.fromCodePoint(0x400 + i),
    ]
    for (const make of makes) {
      const high = new Uint32Array(16)
      const low = new Uint32Array(16)
      for (let i = 0; i < 16_000; i++) {
        const hash = hashOf(make(i))
        high[hash >>> 28]!++
        low[hash & 15]!++
      }
      for (const count of [...high, ...low]) expect(count, make(1)).to.be.within(850, 1150)
    }
  })
})
