import { expect } from 'chai'
import { failureOf, rejectsWith, VirtualClock } from '@mooncake-ts/testkit'

describe('VirtualClock', () => {
  it('stands still until it is advanced', async () => {
    const clock = new VirtualClock({ wallMs: 1_000_000 })
    let ran = false
    clock.after(1, () => (ran = true))
    await new Promise(resolve => setTimeout(resolve, 5))
    expect([clock.nowMs(), clock.wallMs(), ran]).to.deep.equal([0, 1_000_000, false])
    await clock.advance(2.5)
    expect([clock.nowMs(), clock.wallMs(), ran]).to.deep.equal([2.5, 1_000_002, true])
  })

  it('runs what is due, in the order of time and then of setting, and not what is due later', async () => {
    const clock = new VirtualClock()
    const seen: string[] = []
    for (const [name, delayMs] of [
      ['c', 20],
      ['a', 10],
      ['b', 10],
      ['late', 21],
    ] as const)
      clock.after(delayMs, () => seen.push(`${name}@${clock.nowMs()}`))
    await clock.advance(20)
    expect(seen).to.deep.equal(['a@10', 'b@10', 'c@20'])
    expect(clock.pending).to.equal(1)
    await clock.advance(1)
    expect(seen.at(-1)).to.equal('late@21')
  })

  it('lets promises settle between two timers, and runs what they set on the way', async () => {
    const clock = new VirtualClock()
    const seen: number[] = []
    const walk = async (): Promise<void> => {
      for (let step = 0; step < 3; step++) {
        await clock.sleep(10)
        for (let i = 0; i < 20; i++) await Promise.resolve()
        seen.push(clock.nowMs())
      }
    }
    const walking = walk()
    clock.after(15, () => seen.push(-15))
    await clock.advance(30)
    expect(seen).to.deep.equal([10, -15, 20, 30])
    await walking
  })

  it('repeats at the interval, until disposed of', async () => {
    const clock = new VirtualClock()
    const seen: number[] = []
    const timer = clock.every(10, () => seen.push(clock.nowMs()))
    await clock.advance(35)
    expect(seen).to.deep.equal([10, 20, 30])
    timer[Symbol.dispose]()
    await clock.advance(100)
    expect(seen).to.have.lengthOf(3)
    expect(clock.pending).to.equal(0)
  })

  it('lets a callback dispose of its own interval and of other timers', async () => {
    const clock = new VirtualClock()
    let runs = 0
    const other = clock.after(20, () => (runs += 100))
    const own = clock.every(10, () => {
      runs++
      own[Symbol.dispose]()
      other[Symbol.dispose]()
    })
    await clock.advance(50)
    expect(runs).to.equal(1)
  })

  it('rejects a sleep with the reason of the signal, before and meanwhile, and leaves no timer', async () => {
    const clock = new VirtualClock()
    const reason = new Error('awake')
    expect(await failureOf(clock.sleep(10, AbortSignal.abort(reason)))).to.equal(reason)
    const controller = new AbortController()
    const failing = failureOf(clock.sleep(10, controller.signal))
    controller.abort(reason)
    expect(await failing).to.equal(reason)
    expect(clock.pending).to.equal(0)
  })

  it('hands on what a callback throws', async () => {
    const clock = new VirtualClock()
    clock.after(1, () => {
      throw Object.assign(new Error('a bug'), { code: 'ERR_INTERNAL' })
    })
    await rejectsWith(clock.advance(1), 'ERR_INTERNAL')
  })

  it('refuses to go back, and intervals that never let it end', async () => {
    const clock = new VirtualClock()
    for (const durationMs of [-1, Number.NaN])
      expect(await failureOf(clock.advance(durationMs))).to.be.an.instanceOf(RangeError)
    for (const intervalMs of [0, -1, Number.NaN])
      expect(() => clock.every(intervalMs, () => {})).to.throw(RangeError)
  })
})
