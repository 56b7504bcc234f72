import { expect } from 'chai'
import { noMetrics, silentLogger, systemClock } from '@mooncake-ts/core'
import { failure } from './support.js'

describe('systemClock', () => {
  it('is monotonic, with fractions, beside wall time', async () => {
    const [before, wall] = [systemClock.nowMs(), Date.now()]
    await systemClock.sleep(20)
    expect(systemClock.nowMs() - before).to.be.at.least(18) // A timer may be early by what its loop's clock is behind.
    expect(systemClock.wallMs()).to.be.within(wall, wall + 60_000)
  })

  it('calls back once after the delay, unless it was disposed of', async () => {
    const calls: string[] = []
    const cancelled = systemClock.after(1, () => calls.push('cancelled'))
    cancelled[Symbol.dispose]()
    const kept = new Promise<void>(resolve => systemClock.after(2, () => resolve(void calls.push('kept'))))
    await Promise.all([kept, systemClock.sleep(5)]) // The sleep keeps the process alive: `after` does not.
    expect(calls).to.deep.equal(['kept'])
  })

  it('calls back again and again, until it was disposed of', async () => {
    let calls = 0
    const stay = new AbortController()
    const staying = failure(() => systemClock.sleep(10_000, stay.signal))
    await new Promise<void>(resolve => {
      const timer = systemClock.every(1, () => {
        if (++calls < 3) return
        timer[Symbol.dispose]()
        resolve()
      })
    })
    stay.abort()
    await staying
    await systemClock.sleep(5)
    expect(calls).to.equal(3)
  })

  it('rejects a sleep with the reason of the signal itself', async () => {
    const controller = new AbortController()
    const reason = new Error('wake up')
    const sleeping = failure(() => systemClock.sleep(60_000, controller.signal))
    controller.abort(reason)
    expect(await sleeping).to.equal(reason)
    expect(await failure(() => systemClock.sleep(60_000, AbortSignal.abort(reason)))).to.equal(reason)
  })
})

describe('what stands in where nobody provides a logger or metrics', () => {
  it('does nothing, everywhere', async () => {
    const logger = silentLogger.child({ node: 'a' })
    for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level]('text', { field: 1 })
    noMetrics.counter({ name: 'c', help: '' }).add(1, { label: 'x' })
    noMetrics.gauge({ name: 'g', help: '' }).set(1)
    noMetrics.histogram({ name: 'h', help: '', buckets: [1] }).observe(1)
    expect((await noMetrics.expose()).body).to.equal('')
  })
})
