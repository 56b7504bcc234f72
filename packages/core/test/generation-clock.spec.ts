import { expect } from 'chai'
import { GenerationClock, systemClock, type Clock } from '@mooncake-ts/core'

describe('GenerationClock', () => {
  function at(wallMs: number): { clock: Clock; set: (ms: number) => void } {
    let now = wallMs
    return { clock: { ...systemClock, wallMs: () => now }, set: ms => (now = ms) }
  }

  it('gives each generation once, in ascending order, also when the clock stands still or goes back', () => {
    const { clock, set } = at(1_000_000)
    const generations = new GenerationClock(clock)
    const first = generations.take(3)
    expect(generations.take(1)).to.be.at.least(first + 3)
    const later = generations.take(10_000)
    set(999_000)
    expect(generations.take(1)).to.be.at.least(later + 10_000)
  })

  it('grows with time', () => {
    const { clock, set } = at(1_000_000)
    const earlier = new GenerationClock(clock).take(1)
    set(1_000_001)
    expect(new GenerationClock(clock).take(1)).to.be.greaterThan(earlier)
  })

  it('goes on above what it has seen', () => {
    const { clock } = at(1_000_000)
    const generations = new GenerationClock(clock)
    const seen = generations.take(1) + 1_000_000
    generations.observe(seen)
    expect(generations.take(1)).to.equal(seen + 1)
  })

  it('stays a safe integer for a century', () => {
    const { clock } = at(Date.UTC(2100, 0))
    expect(Number.isSafeInteger(new GenerationClock(clock).take(1))).to.equal(true)
  })
})
