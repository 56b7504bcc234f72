import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { systemClock } from '@mooncake-ts/core'
import { PinSession } from '../../dist/near/pin-session.js'
import { PIN_TABLE_BYTES, PinTable } from '../../dist/near/pin-table.js'
import { PlaceReader, placeTableBytes, slotsFor } from '../../dist/near/place-table.js'
import type { RaceMemory } from './pin-race-owner.js'

const EPOCHS = 300_000

describe('a pin and an object that goes at the same moment', () => {
  it('do not miss each other', async () => {
    const memory: RaceMemory = {
      places: new SharedArrayBuffer(placeTableBytes(slotsFor(64))),
      pins: new SharedArrayBuffer(PIN_TABLE_BYTES),
      kept: new SharedArrayBuffer(4 * EPOCHS),
    }
    const places = new PlaceReader(new Uint8Array(memory.places))
    const kept = new Int32Array(memory.kept)
    const session = new PinSession(
      systemClock,
      new PinTable(new Uint8Array(memory.pins)),
      60_000,
      systemClock.nowMs(),
      () => {},
    )
    const worker = new Worker(new URL('pin-race-owner.js', import.meta.url), { workerData: memory })
    const pinned: number[] = []
    const endMs = performance.now() + 10_000
    const isOver = (): boolean => Atomics.load(kept, 0) !== 0 || performance.now() > endMs
    while (!isOver()) {
      const place = places.find('k')
      if (place == null) {
        if (pinned.length === 0) await new Promise(resolve => setImmediate(resolve)) // The thread is starting.
        continue
      }
      const pin = session.pin(places, place)
      if (pin == null) continue
      pinned.push(place.epoch)
      while (places.holds(place) && !isOver()); // Until the owner is about to look for pins …
      while (places.find('k') == null && !isOver()); // … and has.
      pin.release()
    }
    await worker.terminate()
    session.end()
    expect(kept[0], 'the owner has ended').to.equal(1)
    expect(pinned.filter(epoch => kept[epoch] !== 1)).to.deep.equal([])
    expect(pinned.length).to.be.above(0)
  }).timeout(20_000)
})
