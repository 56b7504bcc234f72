import { expect } from 'chai'
import fc from 'fast-check'
import { FrequencySketch } from '../../dist/tiering/frequency-sketch.js'

describe('FrequencySketch', () => {
  it('counts up to 15, and tells apart as many keys as it was made for', () => {
    const sketch = new FrequencySketch(1024)
    for (let i = 0; i < 100; i++) for (let n = 0; n < i % 5; n++) sketch.increment(`key ${i}`)
    const wrong = Array.from({ length: 100 }, (_, i) => sketch.estimate(`key ${i}`) - (i % 5)).filter(Boolean)
    expect(wrong.length, 'collisions in all four rows').to.be.below(3)
    for (let n = 0; n < 40; n++) sketch.increment('hot')
    expect(sketch.estimate('hot')).to.equal(15)
    expect(sketch.estimate('never seen')).to.equal(0)
  })

  it('never underestimates what was counted since the last ageing', () => {
    const keys = fc.array(fc.string({ maxLength: 3 }), { maxLength: 79 }) // 10 × 8 counters make a sample.
    fc.assert(
      fc.property(keys, used => {
        const sketch = new FrequencySketch(1)
        const counts = new Map<string, number>()
        for (const key of used) {
          sketch.increment(key)
          counts.set(key, (counts.get(key) ?? 0) + 1)
        }
        for (const [key, count] of counts) expect(sketch.estimate(key)).to.be.at.least(Math.min(15, count))
      }),
    )
  })

  it('halves what was popular once, so that a new favourite overtakes it', () => {
    const sketch = new FrequencySketch(64)
    for (let n = 0; n < 15; n++) sketch.increment('old')
    for (let n = 0; n < 640 - 15; n++) sketch.increment(`other ${n % 40}`)
    expect(sketch.estimate('old')).to.be.within(7, 8)
    for (let n = 0; n < 12; n++) sketch.increment('new')
    expect(sketch.estimate('new')).to.be.above(sketch.estimate('old'))
  })

  it('refuses sizes that cannot be', () => {
    for (const size of [0, -1, 1.5, NaN, 2 ** 29]) {
      expect(() => new FrequencySketch(size))
        .to.throw()
        .with.property('code', 'ERR_INVALID_PARAMS')
    }
  })
})
