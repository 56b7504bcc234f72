import { expect } from 'chai'
import { resolveScheduler, SCHEDULER_DEFAULTS } from '../../dist/tiering/scheduler-config.js'

describe('resolveScheduler', () => {
  it('gives the defaults, with what was said', () => {
    expect(resolveScheduler()).to.deep.equal(SCHEDULER_DEFAULTS)
    expect(resolveScheduler({ promotionAccessesMin: 2 })).to.deep.equal({
      ...SCHEDULER_DEFAULTS,
      promotionAccessesMin: 2,
    })
  })

  it('lowers what was not said to what was', () => {
    expect(resolveScheduler({ limitWatermark: 0.7 })).to.include({
      limitWatermark: 0.7,
      demotionHighWatermark: 0.7,
      demotionLowWatermark: 0.7,
    })
  })

  const WRONG: ReadonlyArray<readonly [name: string, value: unknown]> = [
    ['demotion', 1],
    ['demotionHighWatermark', 1.1],
    ['demotionLowWatermark', 0.95],
    ['limitWatermark', -1],
    ['promotionAccessesMin', 16],
    ['promotionAccessesMin', 0],
    ['promotionFreelyBelow', '0.5'],
    ['promotionsQueuedMax', 0],
    ['sketchKeysMax', 2 ** 29],
    ['backgroundOpsMax', 0],
    ['backgroundBytesMax', 0.5],
    ['backgroundProgressMs', Infinity],
    ['colour', 1],
  ]
  for (const [name, value] of WRONG) {
    it(`refuses ${name} ${String(value)} by its path`, () => {
      expect(() => resolveScheduler({ [name]: value }))
        .to.throw('scheduler/')
        .with.property('code', 'ERR_INVALID_PARAMS')
    })
  }
})
