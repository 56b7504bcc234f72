import { expect } from 'chai'
import fc from 'fast-check'
import { AccessHistory } from '../../dist/policies/access-history.js'
import {
  AGE_BUCKETS_MAX,
  ageBucketCount,
  ageBucketOf,
  ageBucketStart,
} from '../../dist/policies/age-buckets.js'
import { GhostIndex } from '../../dist/policies/ghost-index.js'
import { groupOf, ReuseModel } from '../../dist/policies/reuse-model.js'
import { SlotLists } from '../../dist/policies/slot-lists.js'

describe('SlotLists', () => {
  it('keeps each list in order, whatever comes and goes', () => {
    const step = fc.record({ slot: fc.nat(200), list: fc.nat(2), remove: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const lists = new SlotLists(3)
        const model: number[][] = [[], [], []]
        for (const { slot, list, remove } of steps) {
          const was = model.findIndex(members => members.includes(slot))
          expect(lists.listOf(slot)).to.equal(was < 0 ? undefined : was)
          expect(lists.delete(slot)).to.equal(was < 0 ? undefined : was)
          if (was >= 0) model[was] = model[was]!.filter(member => member !== slot)
          if (remove) continue
          lists.add(list, slot)
          model[list]!.push(slot)
        }
        model.forEach((members, list) => {
          expect(lists.newest(list)).to.equal(members.at(-1))
          for (const member of members) {
            expect(lists.oldest(list)).to.equal(member)
            lists.delete(member)
          }
          expect(lists.isEmpty(list)).to.equal(true)
        })
      }),
    )
  })
})

describe('GhostIndex', () => {
  it('finds what is in it and nothing else, also among hashes that collide', () => {
    const hashes = Uint32Array.from({ length: 16 }, (_, position) => (position % 4) * 32 + (position >> 3))
    const step = fc.record({ position: fc.nat(15), remove: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step), steps => {
        const index = new GhostIndex(hashes)
        const present = new Set<number>()
        for (const { position, remove } of steps) {
          if (remove && present.delete(position)) index.delete(position)
          else if (!remove && !present.has(position)) index.add(present.add(position) && position)
          for (const hash of hashes) {
            const found = index.find(hash)
            const wanted = [...present].filter(candidate => hashes[candidate] === hash)
            if (wanted.length === 0) expect(found).to.equal(undefined)
            else expect(wanted).to.include(found)
          }
        }
      }),
    )
  })
})

describe('age buckets', () => {
  it('double from 64 on, and know their beginnings', () => {
    expect([0, 63, 64, 127, 128, 255, 256].map(ageBucketOf)).to.deep.equal([0, 0, 1, 1, 2, 2, 3])
    for (let bucket = 1; bucket < AGE_BUCKETS_MAX; bucket++) {
      expect(ageBucketOf(ageBucketStart(bucket))).to.equal(bucket)
      expect(ageBucketOf(ageBucketStart(bucket) - 1)).to.equal(bucket - 1)
    }
    expect(ageBucketCount(2 ** 17)).to.equal(12)
    expect(ageBucketCount(2 ** 22)).to.equal(AGE_BUCKETS_MAX)
  })
})

describe('AccessHistory', () => {
  it('forgets the oldest, knows ghosts by their hash, and keeps all that when it grows', () => {
    const history = new AccessHistory(8)
    const write = (slot: number): number => {
      history.step()
      return history.write(slot, 1000 + slot, slot % 3, slot)
    }
    const positions = Array.from({ length: 8 }, (_, slot) => write(slot))
    history.becomeGhost(positions[5]!)
    history.end(positions[6]!)
    const moved = new Map<number, number>()
    history.grow((slot, position) => moved.set(slot, position))
    expect([...moved.keys()]).to.deep.equal([0, 1, 2, 3, 4, 7])
    expect(history.ageOf(moved.get(0)!)).to.equal(7)
    const ghost = history.findGhost(1005)!
    expect([history.usesOf(ghost), history.classOf(ghost), history.slotOf(ghost)]).to.deep.equal([
      5,
      2,
      undefined,
    ])
    expect(history.at(1), 'an access that is over').to.equal(undefined)
    expect(history.slotOf(history.at(3)!)).to.equal(4)
    for (let slot = 8; slot < 16; slot++) write(slot)
    expect(history.step(), 'the first access is forgotten').to.equal(0)
    for (let slot = 17; slot < 22; slot++) write(slot)
    expect(history.findGhost(1005), 'and the ghost in its turn').to.equal(undefined)
  })
})

describe('ReuseModel', () => {
  const BUCKETS = 4

  it('puts the older first while it knows nothing', () => {
    const { order } = new ReuseModel()
    const buckets = order.map(group => group % AGE_BUCKETS_MAX)
    expect(buckets).to.deep.equal([...buckets].sort((a, b) => b - a))
  })

  it('gives up first what is never used again, and keeps what is about to be', () => {
    const model = new ReuseModel()
    const [never, soon, late] = [0, 1, 2]
    for (let i = 0; i < 10_000; i++) {
      for (const reuseClass of [never, soon, late]) model.reached(groupOf(reuseClass, 0))
      model.reused(groupOf(soon, 0))
      for (let bucket = 1; bucket < BUCKETS; bucket++) {
        for (const reuseClass of [never, late]) model.reached(groupOf(reuseClass, bucket))
      }
      model.reused(groupOf(late, 3))
    }
    model.refresh(BUCKETS)
    const rank = (reuseClass: number, bucket: number): number =>
      model.order.indexOf(groupOf(reuseClass, bucket))
    expect(rank(never, 0)).to.be.below(rank(late, 0))
    expect(rank(late, 0)).to.be.below(rank(late, 2), 'nearer to its use')
    expect(rank(late, 2)).to.be.below(rank(soon, 0))
    expect(model.rises(groupOf(late, 1))).to.equal(true)
    expect(model.rises(groupOf(soon, 0))).to.equal(false)
  })
})
