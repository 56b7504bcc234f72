import { expect } from 'chai'
import { KeyMatcher } from '../dist/service/key-matcher.js'
import { Tombstones } from '../dist/service/tombstones.js'
import { VirtualClock } from '@mooncake-ts/testkit'
import { failure } from './support.js'

describe('Tombstones', () => {
  const options = { tombstonesMax: 3, tombstoneTtlMs: 1000 }

  it('cover a generation and older ones, for one node', () => {
    const stones = new Tombstones(new VirtualClock(), options)
    stones.add('n', 'k', 5)
    expect([4, 5, 6].map(generation => stones.covers('n', 'k', generation))).to.deep.equal([
      true,
      true,
      false,
    ])
    expect(stones.covers('m', 'k', 5)).to.equal(false)
    stones.add('n', 'k', 3)
    expect(stones.covers('n', 'k', 5)).to.equal(true, 'an older removal takes nothing back')
    expect(stones.size).to.equal(1)
    stones.forget('n')
    expect(stones.covers('n', 'k', 5)).to.equal(false)
    expect(stones.size).to.equal(0)
  })

  it('make room by age', async () => {
    const clock = new VirtualClock()
    const stones = new Tombstones(clock, options)
    for (const [node, key] of [
      ['n', 'a'],
      ['m', 'b'],
      ['n', 'c'],
      ['n', 'd'],
    ] as const) {
      await clock.advance(1)
      stones.add(node, key, 1)
    }
    expect(stones.size).to.equal(3)
    expect(stones.evicted).to.equal(1)
    expect(stones.covers('n', 'a', 1)).to.equal(false)
    expect([...stones.of('n')].map(stone => stone.key)).to.deep.equal(['c', 'd'])
  })

  it('run out', async () => {
    const clock = new VirtualClock()
    const stones = new Tombstones(clock, options)
    stones.add('n', 'old', 1)
    await clock.advance(600)
    stones.add('n', 'young', 1)
    await clock.advance(400)
    expect(stones.covers('n', 'old', 1)).to.equal(false)
    stones.expire()
    expect(stones.size).to.equal(1)
    expect(stones.covers('n', 'young', 1)).to.equal(true)
  })
})

describe('KeyMatcher', () => {
  it('finds what matches', () => {
    expect(new KeyMatcher('^a.*z$').filter(['az', 'abz', 'zba', 'a'])).to.deep.equal(['az', 'abz'])
  })

  it('refuses what is no regular expression, with a sentence', async () => {
    const code = await failure(new Promise(resolve => resolve(new KeyMatcher('(['))))
    expect(code).to.equal('ERR_INVALID_PARAMS')
    expect(() => new KeyMatcher('([')).to.throw(/^Not a regular expression: /)
  })

  it('interrupts a pattern that backtracks forever', function () {
    this.timeout(5000)
    const matcher = new KeyMatcher('^(a+)+$')
    expect(() => matcher.filter([`${'a'.repeat(60)}!`])).to.throw(/over 200 ms/)
    expect(matcher.filter(['aaa', 'b'])).to.deep.equal(['aaa'], 'and works on')
  })
})
