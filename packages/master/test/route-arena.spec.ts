import { expect } from 'chai'
import fc from 'fast-check'
import { KeyProbe } from '../dist/routes/key-probe.js'
import { RouteArena } from '../dist/routes/route-arena.js'

describe('RouteArena', () => {
  const probe = new KeyProbe()
  const put = (arena: RouteArena, key: string, number: number): number => {
    const reference = arena.allocate(probe.ofText(key))
    arena.setPlace(reference, number, number + 1)
    arena.setObject(reference, number * 1e10, number + 0.5)
    return reference
  }
  /** @param states by segment: only those of state 1 */
  const visited = (arena: RouteArena, step: number, states?: Uint8Array): number[] => {
    const references: number[] = []
    const visit = (reference: number): void => {
      references.push(reference)
    }
    for (let next = 0; next < arena.end;) {
      next =
        states == null ? arena.visit(next, step, visit) : arena.visitSegments(next, step, states, 1, visit)
    }
    return references
  }

  it('keeps entries of every length where they are, whatever comes and goes', () => {
    const step = fc.record({
      key: fc.oneof(
        fc.string({ minLength: 1, maxLength: 40 }),
        fc.string({ minLength: 1, unit: 'grapheme' }),
      ),
      remove: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), steps => {
        const arena = new RouteArena()
        const model = new Map<string, { reference: number; number: number }>()
        steps.forEach(({ key, remove }, number) => {
          const known = model.get(key)
          if (known == null) model.set(key, { reference: put(arena, key, number), number })
          else if (remove) {
            arena.free(known.reference)
            model.delete(key)
          }
        })
        for (const [key, { reference, number }] of model) {
          expect(arena.key(reference)).to.equal(Buffer.from(key).toString())
          expect(arena.holds(reference, probe.ofText(key))).to.equal(true)
          expect(arena.holds(reference, probe.ofText(`${key}x`))).to.equal(false)
          expect(arena.hash(reference)).to.equal(probe.ofText(key).hash)
          expect([arena.segment(reference), arena.stamp(reference)]).to.deep.equal([number, number + 1])
          expect([arena.byteLength(reference), arena.generation(reference)]).to.deep.equal([
            number * 1e10,
            number + 0.5,
          ])
        }
        const references = [...model.values()].map(({ reference }) => reference)
        for (const size of [1, 3, 1000]) expect(visited(arena, size)).to.have.members(references)
        const states = Uint8Array.from(steps, (_, number) => number % 3)
        const inState = [...model.values()].filter(({ number }) => number % 3 === 1)
        for (const size of [1, 3, 1000]) {
          expect(visited(arena, size, states)).to.have.members(inState.map(({ reference }) => reference))
        }
      }),
    )
  })

  it('fills chunk after chunk with keys that do not fit their rest', () => {
    const arena = new RouteArena()
    const keys = Array.from({ length: 5000 }, (_, i) => `${i}/`.padEnd(1 + ((i * 7919) % 12_288), 'k'))
    const references = keys.map((key, i) => put(arena, key, i))
    for (const [i, reference] of references.entries()) expect(arena.key(reference)).to.equal(keys[i])
    expect(visited(arena, 100)).to.deep.equal(references)
    const states = new Uint8Array(keys.length).fill(1)
    for (const step of [1, 100]) expect(visited(arena, step, states)).to.deep.equal(references)
  })

  it('gives the place of a key to the next of its length', () => {
    const arena = new RouteArena()
    const first = put(arena, 'a'.repeat(64), 1)
    put(arena, 'b'.repeat(64), 2)
    const { end } = arena
    arena.free(first)
    expect(put(arena, 'c'.repeat(60), 3)).to.equal(first, 'the same number of cells')
    expect(arena.end).to.equal(end)
  })

  it('gives everything back with the last key, and says so', () => {
    const arena = new RouteArena()
    const { era } = arena
    const references = ['a', 'b'].map((key, i) => put(arena, key, i))
    for (const reference of references) arena.free(reference)
    expect([arena.end, arena.era]).to.deep.equal([0, era + 1])
    expect(arena.key(put(arena, 'again', 1))).to.equal('again')
  })

  it('finds the next entry from any place', () => {
    const arena = new RouteArena()
    const references = Array.from({ length: 200 }, (_, i) => put(arena, 'k'.repeat(1 + (i % 50)), i))
    for (let place = 0; place <= arena.end + 5; place++)
      expect(arena.align(place)).to.equal(references.find(reference => reference >= place) ?? arena.end)
  })
})
