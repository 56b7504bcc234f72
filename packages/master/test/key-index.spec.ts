import { expect } from 'chai'
import fc from 'fast-check'
import { hashOf } from '../dist/routes/key-hash.js'
import { KeyIndex } from '../dist/routes/key-index.js'
import { viewOf } from '../dist/routes/key-probe.js'

describe('KeyIndex', () => {
  it('does what a Map does, also when hashes collide', () => {
    // Few hashes, with the same low bits: long runs of probes that wrap around, and full collisions.
    const hash = fc.constantFrom(63, 127, 62, 0, 1, 191)
    const steps = fc.array(fc.record({ name: fc.nat(30), hash, remove: fc.boolean() }), { maxLength: 200 })
    fc.assert(
      fc.property(steps, fc.constantFrom(0.5, 0.75), (sequence, loadMax) => {
        const index = new KeyIndex(loadMax)
        const model = new Map<string, { reference: number; hash: number }>()
        let next = 0
        for (const step of sequence) {
          const key = `key-${step.name}-${step.hash}`
          const known = model.get(key)
          if (known == null) {
            model.set(key, { reference: next, hash: step.hash })
            index.insert(step.hash, next++)
          } else if (step.remove) {
            index.remove(known.hash, known.reference)
            model.delete(key)
          }
          expect(index.size).to.equal(model.size)
          const same = [...model.values()].filter(other => other.hash === step.hash)
          expect(found(index, step.hash)).to.have.members(same.map(other => other.reference))
        }
      }),
    )
  })

  it('holds many keys, and gives its memory back with the last', () => {
    const index = new KeyIndex()
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 10_000; i++) index.insert(Math.imul(i, 0x9e3779b1) >>> 0, i)
      for (let i = 0; i < 10_000; i++) expect(index.first(Math.imul(i, 0x9e3779b1) >>> 0)).to.equal(i)
      for (let i = 0; i < 10_000; i++) index.remove(Math.imul(i, 0x9e3779b1) >>> 0, i)
      expect(index.size).to.equal(0)
      expect(index.find(0)).to.equal(-1)
    }
  })
})

describe('hashOf', () => {
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
        const hash = hashOfText(make(i))
        high[hash >>> 28]!++
        low[hash & 15]!++
      }
      for (const count of [...high, ...low]) expect(count, make(1)).to.be.within(850, 1150)
    }
  })

  it('depends on every byte and on the length, not on where the bytes lie', () => {
    const text = 'The quick brown fox'
    for (let length = 1; length <= text.length; length++) {
      const key = Buffer.from(text.slice(0, length))
      const hash = hashOf(viewOf(key), 0, length)
      for (let i = 0; i < length; i++) {
        const changed = Buffer.from(key)
        changed[i]! ^= 1
        expect(hashOf(viewOf(changed), 0, length)).to.not.equal(hash)
      }
      expect(hashOf(viewOf(Buffer.concat([key, Buffer.alloc(1)])), 0, length + 1)).to.not.equal(hash)
      const elsewhere = Buffer.concat([Buffer.from('###'), key, Buffer.from('#')])
      expect(hashOf(viewOf(elsewhere), 3, 3 + length)).to.equal(hash)
    }
  })
})

function found(index: KeyIndex, hash: number): number[] {
  const references: number[] = []
  for (let bucket = index.find(hash); bucket >= 0; bucket = index.find(hash, bucket + 1))
    references.push(index.reference(bucket))
  return references
}

function hashOfText(key: string): number {
  const bytes = Buffer.from(key)
  return hashOf(viewOf(bytes), 0, bytes.byteLength)
}
