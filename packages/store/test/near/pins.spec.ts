import { expect } from 'chai'
import fc from 'fast-check'
import type { Clock } from '@mooncake-ts/core'
import { VirtualClock } from '@mooncake-ts/testkit'
import { PinSession } from '../../dist/near/pin-session.js'
import { PIN_TABLE_BYTES, PinReader, PinTable } from '../../dist/near/pin-table.js'
import { PinWatch } from '../../dist/near/pin-watch.js'
import { PlaceTable, placeTableBytes, slotsFor } from '../../dist/near/place-table.js'

const LEASE_MS = 5000
const GROUP_PINS = 16

const bytesOf = (byteLength: number) => new Uint8Array(new ArrayBuffer(byteLength))
/** Of one group. */
const smallTable = () => bytesOf(64 + 4 * GROUP_PINS)

/** Of a process that may stand still: its timers do. */
class StallingClock implements Clock {
  readonly nowMs = () => this.shared.nowMs()
  readonly wallMs = () => this.shared.wallMs()
  stalled = false

  constructor(readonly shared: VirtualClock) {}

  after(delayMs: number, callback: () => void): Disposable {
    return this.shared.after(delayMs, callback)
  }

  every(intervalMs: number, callback: () => void): Disposable {
    return this.shared.every(intervalMs, () => {
      if (!this.stalled) callback()
    })
  }

  async sleep(delayMs: number): Promise<void> {
    await this.shared.sleep(delayMs)
  }
}

/** A reader and an owner, and what is between them. */
function neighbours(pinBytes = bytesOf(PIN_TABLE_BYTES)) {
  const clock = new VirtualClock()
  const readerClock = new StallingClock(clock)
  const places = new PlaceTable(bytesOf(placeTableBytes(slotsFor(64))))
  const exposure = { bytes: pinBytes, valid: true }
  const watch = new PinWatch(clock, LEASE_MS)
  const sinceMs = clock.nowMs()
  expect(watch.add(exposure)).to.equal(true)
  let ends = 0
  const session = new PinSession(readerClock, new PinTable(pinBytes), LEASE_MS, sinceMs, () => ends++)
  const publish = (key: string) => {
    places.publish({ key, generation: 1, byteLength: 1 }, 0, 0)
    return places.find(key)!
  }
  return { clock, readerClock, places, exposure, watch, session, publish, ends: () => ends }
}

describe('PinTable', () => {
  it('shows what is pinned until it is not', () => {
    const bytes = bytesOf(PIN_TABLE_BYTES)
    const [table, reader] = [new PinTable(bytes), new PinReader(bytes)]
    for (let epoch = 1; epoch <= 20_000; epoch++) expect(table.add(epoch)).to.equal(true)
    for (let epoch = 1; epoch <= 20_000; epoch += 2) table.delete(epoch)
    for (let epoch = 1; epoch <= 20_000; epoch++) expect(reader.has(epoch)).to.equal(epoch % 2 === 0)
    for (const epoch of [20_001, -1, 2 ** 31 - 1]) expect(reader.has(epoch)).to.equal(false)
  })

  it('refuses what a full group has no room for, until something goes', () => {
    const table = new PinTable(smallTable())
    for (let epoch = 1; epoch <= GROUP_PINS; epoch++) expect(table.add(epoch)).to.equal(true)
    expect(table.add(17)).to.equal(false)
    table.delete(99) // Is not there.
    expect(table.add(17)).to.equal(false)
    table.delete(3)
    expect([table.add(17), table.has(17), table.has(3)]).to.deep.equal([true, true, false])
  })
})

describe('PinSession', () => {
  it('pins a place for as long as anybody wants it', () => {
    const { session, places, watch, publish } = neighbours()
    const place = publish('a')
    const [first, second] = [session.pin(places, place)!, session.pin(places, place)!]
    first.release()
    expect([watch.isPinned(place.epoch), second.isKept()]).to.deep.equal([true, true])
    second.release()
    expect(watch.isPinned(place.epoch)).to.equal(false)
  })

  it('pins nothing that went since it was found', () => {
    const { session, places, watch, publish } = neighbours()
    const place = publish('a')
    places.withdraw('a', 1)
    expect(session.pin(places, place)).to.equal(undefined)
    expect(watch.isPinned(place.epoch)).to.equal(false)
  })

  it('pins nothing in a group that is full', () => {
    const { session, places, publish } = neighbours(smallTable())
    const found = Array.from({ length: GROUP_PINS + 1 }, (_, i) => publish(`k${i}`))
    const pins = found.map(place => session.pin(places, place))
    expect(pins.map(pin => pin != null)).to.deep.equal(found.map((_, i) => i < GROUP_PINS))
    pins[0]!.release()
    expect(session.pin(places, found.at(-1)!)).not.to.equal(undefined)
  })

  it('is kept by who pins one place after the other and lets no timer run', async () => {
    const { session, places, watch, publish, clock, readerClock } = neighbours()
    const [held, other] = [publish('held'), publish('other')]
    const pin = session.pin(places, held)!
    readerClock.stalled = true
    for (let turns = 0; turns < 60; turns++) {
      await clock.advance(500)
      session.pin(places, other)!.release()
      watch.look()
      expect([pin.isKept(), watch.isPinned(held.epoch)]).to.deep.equal([true, true])
    }
  })

  it('is kept where nothing is ever pinned when it beats', async () => {
    const { session, places, publish, clock } = neighbours()
    const place = publish('a')
    for (let seconds = 0; seconds < 100; seconds++) {
      await clock.advance(1000)
      session.pin(places, place)!.release()
    }
    expect(session.ended).to.equal(false)
  })

  it('is kept by its beats, and ends when nobody has wanted anything for long', async () => {
    const { session, places, watch, publish, clock, ends } = neighbours()
    const place = publish('a')
    const pin = session.pin(places, place)!
    for (let seconds = 0; seconds < 100; seconds++) {
      await clock.advance(1000)
      watch.look()
      expect([pin.isKept(), watch.isPinned(place.epoch)]).to.deep.equal([true, true])
    }
    pin.release()
    await clock.advance(50_000)
    expect(session.ended).to.equal(false)
    await clock.advance(20_000)
    expect([session.ended, ends(), session.pin(places, place)]).to.deep.equal([true, 1, undefined])
  })

  it('is lost for good when this process has stood still, before the owner takes it for dead', async () => {
    const { session, places, watch, publish, clock, readerClock, ends } = neighbours()
    const place = publish('a')
    const pin = session.pin(places, place)!
    await clock.advance(1000)
    readerClock.stalled = true
    await clock.advance(LEASE_MS - 2000 - 1)
    expect(pin.isKept()).to.equal(true)
    await clock.advance(1)
    watch.look()
    expect([pin.isKept(), watch.isPinned(place.epoch)]).to.deep.equal([false, true])
    readerClock.stalled = false
    await clock.advance(1000)
    expect([pin.isKept(), session.ended, ends()]).to.deep.equal([false, true, 1])
  })

  it('believes nothing that the owner does not, however both are held up', async () => {
    const step = fc.record({ waitMs: fc.nat(2000), stalled: fc.boolean(), looks: fc.boolean() })
    let lost = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async steps => {
        const { session, places, watch, publish, clock, readerClock } = neighbours()
        const { epoch } = publish('a')
        const pin = session.pin(places, places.find('a')!)!
        for (const { waitMs, stalled, looks } of steps) {
          readerClock.stalled = stalled
          await clock.advance(waitMs)
          if (looks) watch.look()
          if (!watch.isPinned(epoch)) lost++
          if (pin.isKept()) expect(watch.isPinned(epoch)).to.equal(true)
        }
      }),
    )
    expect(lost).to.be.above(0)
  })
})

describe('PinWatch', () => {
  it('counts a beat from when it was seen, also where it stands still in between', () => {
    let [nowMs, stallMs] = [0, 0]
    const clock = {
      nowMs: () => {
        const saidMs = nowMs
        nowMs += stallMs
        stallMs = 0
        return saidMs
      },
    } as Clock
    const bytes = bytesOf(PIN_TABLE_BYTES)
    const [table, watch] = [new PinTable(bytes), new PinWatch(clock, LEASE_MS)]
    watch.add({ bytes, valid: true })
    table.add(1)
    table.beatOnce()
    stallMs = 2 * LEASE_MS
    watch.look()
    nowMs += 20
    watch.look()
    expect(watch.isPinned(1)).to.equal(true)
  })

  it('lets go soon after the last pin went, and has no timer before and after', async () => {
    const { session, places, watch, publish, clock } = neighbours()
    const gone: string[] = []
    const [a, b] = [publish('a'), publish('b')]
    const [pinA, pinB] = [session.pin(places, a)!, session.pin(places, b)!]
    const { pending } = clock
    watch.whenUnpinned(a.epoch, () => gone.push('a'))
    watch.whenUnpinned(b.epoch, () => gone.push('b'))
    expect(clock.pending).to.equal(pending + 1)
    await clock.advance(500)
    expect(gone).to.deep.equal([])
    pinB.release()
    await clock.advance(20)
    expect(gone).to.deep.equal(['b'])
    pinA.release()
    await clock.advance(20)
    expect([gone, clock.pending]).to.deep.equal([['b', 'a'], pending])
  })

  it('lets go when a neighbour is silent for a lease, or shows its pins no more, or when all ends', async () => {
    for (const how of ['silent', 'revoked', 'closed'] as const) {
      const { session, places, watch, publish, clock, readerClock, exposure } = neighbours()
      const { epoch } = publish('a')
      session.pin(places, places.find('a')!)
      let gone = false
      watch.whenUnpinned(epoch, () => (gone = true))
      readerClock.stalled = true
      await clock.advance(LEASE_MS - 20)
      expect(gone, how).to.equal(false)
      if (how === 'revoked') exposure.valid = false
      if (how === 'closed') watch.close()
      else await clock.advance(20)
      expect(gone, how).to.equal(true)
      watch.look()
      expect(clock.pending, how).to.equal(1) // The reader's beat.
    }
  })

  it('takes the tables of so many neighbours, and forgets those that have gone', () => {
    const clock = new VirtualClock()
    const watch = new PinWatch(clock, LEASE_MS)
    const exposure = () => ({ bytes: smallTable(), valid: true })
    const first = exposure()
    expect(watch.isWatching).to.equal(false)
    expect(watch.add(first)).to.equal(true)
    let count = 1
    while (watch.add(exposure())) count++
    expect([count, watch.isWatching]).to.deep.equal([256, true])
    first.valid = false
    expect([watch.add(exposure()), watch.add(exposure())]).to.deep.equal([true, false])
  })
})
