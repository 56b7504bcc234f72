import { VirtualClock } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import fc from 'fast-check'
import { DeadlineQueue } from '../../dist/local/deadline-queue.js'
import { LeaseTable } from '../../dist/local/leases.js'
import { thrownCode } from './support/harness.js'

describe('LeaseTable', () => {
  function make(options: { exclusive?: boolean; leasesMax?: number; expiredMax?: number } = {}) {
    const clock = new VirtualClock()
    const expired: string[] = []
    const table = new LeaseTable<string>({ clock, ...options })
    table.onExpire((key, payload) => expired.push(`${key}:${payload}`))
    return { clock, expired, table }
  }

  it('gives what it keeps to whoever has the id, once', async () => {
    const { table, clock, expired } = make()
    const id = table.open('k', 'space', 5000)
    await clock.advance(4999)
    expect(table.take('k', id)).to.equal('space')
    expect(thrownCode(() => table.take('k', id))).to.equal('ERR_INVALID_WRITE')
    await clock.advance(10_000)
    expect(expired).to.deep.equal([])
  })

  it('knows a wrong id from a late one', async () => {
    const { table, clock, expired } = make()
    const id = table.open('k', 'space', 5000)
    expect(thrownCode(() => table.take('other', id))).to.equal('ERR_INVALID_WRITE')
    expect(thrownCode(() => table.take('k', make().table.open('k', '', 1)))).to.equal('ERR_INVALID_WRITE')
    await clock.advance(5000)
    expect(expired).to.deep.equal(['k:space'])
    expect(thrownCode(() => table.take('k', id))).to.equal('ERR_LEASE_EXPIRED')
    expect(
      thrownCode(() => {
        table.renew('k', id, 1)
      }),
    ).to.equal('ERR_LEASE_EXPIRED')
  })

  it('lets one writer have a key at a time, until its lease has run out', async () => {
    const { table, clock } = make({ exclusive: true })
    const first = table.open('k', 'a', 5000)
    expect(thrownCode(() => table.open('k', 'b', 5000))).to.equal('ERR_REPLICA_IS_PROCESSING')
    await clock.advance(5000)
    const second = table.open('k', 'b', 5000)
    expect(thrownCode(() => table.take('k', first))).to.equal('ERR_LEASE_EXPIRED')
    expect(table.take('k', second)).to.equal('b')
    table.open('k', 'c', 5000)
  })

  it('keeps several pins of a key apart', async () => {
    const { table, clock, expired } = make()
    const slow = table.open('k', 'slow', 100)
    const dead = table.open('k', 'dead', 100)
    await clock.advance(80)
    table.renew('k', slow, 100)
    await clock.advance(80)
    expect(expired).to.deep.equal(['k:dead'])
    expect(thrownCode(() => table.take('k', dead))).to.equal('ERR_LEASE_EXPIRED')
    expect(table.take('k', slow)).to.equal('slow')
  })

  it('expires by deadline, not by age, with one timer for all', async () => {
    const { table, clock, expired } = make()
    table.open('c', '3', 300)
    table.open('a', '1', 100)
    table.open('b', '2', 200)
    expect(clock.pending).to.equal(1)
    await clock.advance(250)
    expect(expired).to.deep.equal(['a:1', 'b:2'])
    await clock.advance(50)
    expect(expired).to.deep.equal(['a:1', 'b:2', 'c:3'])
    expect(clock.pending).to.equal(0)
  })

  it('refuses a lease that ran out although its timer has not fired yet', () => {
    const late = { ...lateClock(), expired: [] as string[] }
    const table = new LeaseTable<string>({ clock: late.clock })
    table.onExpire(key => late.expired.push(key))
    const id = table.open('k', 'space', 10)
    late.set(10)
    expect(thrownCode(() => table.take('k', id))).to.equal('ERR_LEASE_EXPIRED')
    expect(late.expired).to.deep.equal(['k'])
  })

  it('bounds what is open and what it remembers', async () => {
    const { table, clock } = make({ leasesMax: 2, expiredMax: 1 })
    const ids = [table.open('a', '', 1), table.open('b', '', 2)]
    expect(thrownCode(() => table.open('c', '', 1))).to.equal('ERR_OVERLOADED')
    await clock.advance(2)
    expect(
      thrownCode(() => table.take('a', ids[0]!)),
      'forgotten',
    ).to.equal('ERR_INVALID_WRITE')
    expect(thrownCode(() => table.take('b', ids[1]!))).to.equal('ERR_LEASE_EXPIRED')
  })

  it('hands everything over when it closes', () => {
    const { table, clock, expired } = make()
    table.open('a', '1', 100)
    table.open('b', '2', 100)
    expect(table.close()).to.have.members(['1', '2'])
    expect(clock.pending).to.equal(0)
    expect(expired).to.deep.equal([])
    expect(thrownCode(() => table.open('c', '', 1))).to.equal('ERR_SHUTTING_DOWN')
  })
})

describe('DeadlineQueue', () => {
  it('always has the earliest first, whatever comes, goes and moves', () => {
    const step = fc.record({
      kind: fc.constantFrom('add', 'delete', 'move'),
      pick: fc.nat(),
      deadlineMs: fc.integer({ min: 0, max: 50 }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const queue = new DeadlineQueue<{ deadlineMs: number; place: number }>()
        const members: Array<{ deadlineMs: number; place: number }> = []
        for (const { kind, pick, deadlineMs } of steps) {
          const index = members.length === 0 ? -1 : pick % members.length
          if (kind === 'add') {
            members.push({ deadlineMs, place: -1 })
            queue.add(members.at(-1)!)
          } else if (index >= 0 && kind === 'delete') queue.delete(members.splice(index, 1)[0]!)
          else if (index >= 0) queue.move(members[index]!, deadlineMs)
          expect(queue.size).to.equal(members.length)
          expect(queue.earliest?.deadlineMs ?? Infinity).to.equal(Math.min(...members.map(m => m.deadlineMs)))
        }
      }),
    )
  })
})

/** Time that passes while the event loop is busy. */
function lateClock() {
  let nowMs = 0
  const clock = new VirtualClock()
  clock.nowMs = () => nowMs
  return {
    clock,
    set: (ms: number) => {
      nowMs = ms
    },
  }
}
