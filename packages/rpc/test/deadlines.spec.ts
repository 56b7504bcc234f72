import { expect } from 'chai'
import fc from 'fast-check'
import { Backoff } from '../dist/client/backoff.js'
import { Deadlines } from '../dist/deadlines.js'
import { ManualClock } from './support.js'

describe('deadlines', () => {
  it('are never early, and late by at most a 64th of their delay or 2 ms', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 86_400_000 }), { maxLength: 20 }), delays => {
        const clock = new ManualClock()
        clock.advance(12_345.678)
        const deadlines = new Deadlines(clock)
        const beganMs = clock.nowMs()
        const late = new Map<number, number>()
        for (const delayMs of delays) {
          deadlines.add(
            { onDeadline: () => void late.set(delayMs, clock.nowMs() - beganMs - delayMs) },
            delayMs,
          )
        }
        clock.advance(2 * 86_400_000)
        expect([...late.keys()]).to.have.members([...new Set(delays)])
        for (const [delayMs, lateMs] of late) expect(lateMs).to.be.within(0, Math.max(2, delayMs / 64 + 1))
      }),
    )
  })

  it('of many calls share a timer', () => {
    const clock = new ManualClock()
    const deadlines = new Deadlines(clock)
    for (let nowMs = 0; nowMs < 1000; nowMs++) {
      for (let call = 0; call < 10; call++) deadlines.add({ onDeadline() {} }, 10_000)
      clock.advance(1)
    }
    expect(clock.pending).to.be.at.most(9)
  })

  it('that were taken out do not come', () => {
    const clock = new ManualClock()
    const deadlines = new Deadlines(clock)
    let expired = 0
    const item = { onDeadline: () => void expired++ }
    deadlines.add(item, 50).delete(item)
    deadlines.add({ onDeadline: () => void (expired += 10) }, 50)
    clock.advance(100)
    expect(expired).to.equal(10)
  })

  it('leave no timer behind when closed', () => {
    const clock = new ManualClock()
    const deadlines = new Deadlines(clock)
    deadlines.add({ onDeadline() {} }, 50)
    deadlines.close()
    expect(clock.pending).to.equal(0)
  })
})

describe('back-off', () => {
  it('doubles up to its limit, with half of it random, and starts anew after success', () => {
    const clock = new ManualClock()
    const backoff = new Backoff(clock, 100, 1000)
    expect(backoff.remainingMs).to.equal(0)
    for (const pauseMs of [100, 200, 400, 800, 1000, 1000]) {
      backoff.failed()
      expect(backoff.remainingMs).to.be.within(pauseMs / 2, pauseMs)
    }
    clock.advance(1000)
    expect(backoff.remainingMs).to.equal(0)
    backoff.succeeded()
    backoff.failed()
    expect(backoff.remainingMs).to.be.within(50, 100)
  })
})
