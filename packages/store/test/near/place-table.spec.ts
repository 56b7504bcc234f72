import { expect } from 'chai'
import fc from 'fast-check'
import {
  PlaceReader,
  PlaceTable,
  placeTableBytes,
  slotsFor,
  type Place,
} from '../../dist/near/place-table.js'

const SLOTS = slotsFor(64)

interface Placed {
  readonly generation: number
  readonly offset: number
}

function tableAndReader(): { table: PlaceTable; reader: PlaceReader } {
  const bytes = new Uint8Array(new ArrayBuffer(placeTableBytes(SLOTS)))
  return { table: new PlaceTable(bytes), reader: new PlaceReader(bytes) }
}

const objectOf = (key: string, generation = 1, byteLength = 100) => ({ key, generation, byteLength })

describe('PlaceTable', () => {
  it('shows where an object lies until that is withdrawn', () => {
    const { table, reader } = tableAndReader()
    table.publish({ ...objectOf('a', 7, 2 ** 40), checksum: 0xffffffff }, 3, 2 ** 41)
    table.publish(objectOf('b'), 0, 0)
    const place = reader.find('a')!
    const { region, offset, byteLength, checksum } = place
    expect({ region, offset, byteLength, checksum }).to.deep.equal({
      region: 3,
      offset: 2 ** 41,
      byteLength: 2 ** 40,
      checksum: 0xffffffff,
    })
    expect(reader.find('b')!.checksum).to.equal(undefined)
    table.withdraw('a', 6) // Of another generation.
    expect(reader.holds(place)).to.equal(true)
    table.withdraw('a', 7)
    expect([reader.holds(place), reader.find('a')]).to.deep.equal([false, undefined])
    expect(reader.find('b')).not.to.equal(undefined)
  })

  it('believes nobody who has found what was replaced, also by itself', () => {
    const { table, reader } = tableAndReader()
    table.publish(objectOf('a', 1), 0, 0)
    const first = reader.find('a')!
    table.publish(objectOf('a', 2), 0, 0)
    const second = reader.find('a')!
    expect([reader.holds(first), reader.holds(second)]).to.deep.equal([false, true])
    table.withdraw('a', 1)
    expect(reader.holds(second)).to.equal(true)
    table.withdrawAll()
    expect([reader.holds(second), reader.find('a')]).to.deep.equal([false, undefined])
  })

  it('tells of each object that nobody finds any more, when that is so', () => {
    const bytes = new Uint8Array(new ArrayBuffer(placeTableBytes(SLOTS)))
    const reader = new PlaceReader(bytes)
    const known = new Map<number, Place>()
    const table = new PlaceTable(bytes, (slot, epoch) => {
      expect(reader.holds(known.get(epoch)!)).to.equal(false)
      expect(known.get(epoch)!.slot).to.equal(slot)
      known.delete(epoch)
    })
    const publish = (key: string, generation = 1): void => {
      const slot = table.publish(objectOf(key, generation), 0, 0)
      const place = reader.find(key)!
      expect([slot, table.slotOf(key, generation)]).to.deep.equal([place.slot, place.slot])
      expect(table.epochOf(place.slot)).to.equal(place.epoch)
      known.set(place.epoch, place)
    }
    for (let n = 0; n < 300; n++) publish(`k${n}`) // In the place of each other.
    expect(known.size).to.be.within(1, SLOTS)
    const first = [...known.values()][0]!
    const key = Array.from({ length: 300 }, (_, n) => `k${n}`).find(
      each => reader.find(each)?.slot === first.slot,
    )!
    publish(key, 2)
    expect(known.has(first.epoch)).to.equal(false)
    table.withdraw(key, 1)
    expect(table.slotOf(key, 1)).to.equal(undefined)
    const { size } = known
    table.withdraw(key, 2)
    table.withdraw(key, 2)
    expect(known.size).to.equal(size - 1)
    table.withdrawAll()
    expect(known.size).to.equal(0)
  })

  it('displaces nobody who may not be, and says so', () => {
    const bytes = new Uint8Array(new ArrayBuffer(placeTableBytes(SLOTS)))
    const kept = new Set<number>()
    const table = new PlaceTable(
      bytes,
      (_, epoch) => expect(kept.has(epoch)).to.equal(false),
      epoch => !kept.has(epoch),
    )
    const keys = Array.from({ length: 300 }, (_, n) => `k${n}`)
    const refused = keys.filter(key => {
      const slot = table.publish(objectOf(key), 0, 0)
      if (slot != null) kept.add(table.epochOf(slot))
      return slot == null
    })
    expect([kept.size, refused.length]).to.deep.equal([SLOTS, 300 - SLOTS])
    kept.delete(table.epochOf(table.slotOf(keys[0]!, 1)!))
    expect(refused.some(key => table.publish(objectOf(key), 0, 0) != null)).to.equal(true)
    expect(table.slotOf(keys[0]!, 1)).to.equal(undefined)
  })

  it('leaves out keys that are too long or not of Latin-1', () => {
    const { table, reader } = tableAndReader()
    const long = 'k'.repeat(192)
    for (const key of [long, `${long}k`, 'ключ', 'é']) table.publish(objectOf(key), 0, 0)
    const found = [long, `${long}k`, 'ключ', 'é'].map(key => reader.find(key) != null)
    expect(found).to.deep.equal([true, false, false, true])
  })

  it('tells keys apart that begin alike, whatever was looked for before', () => {
    const { table, reader } = tableAndReader()
    for (let length = 1; length <= 9; length++) table.publish(objectOf('k'.repeat(length)), 0, length)
    for (const length of [9, 1, 4, 5, 8, 2]) {
      expect(reader.find('k'.repeat(length))!.offset).to.equal(length)
      expect(reader.find(`${'k'.repeat(length)}x`)).to.equal(undefined)
    }
  })

  it('says nothing that is not so, and forgets something only where it is full', () => {
    const key = fc.nat(199).map(n => `key/${n}`)
    const step = fc.record({ key, generation: fc.nat(5), offset: fc.nat(), add: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const { table, reader } = tableAndReader()
        const model = new Map<string, Placed>()
        for (const { key, generation, offset, add } of steps) {
          if (add) {
            table.publish(objectOf(key, generation), 0, offset)
            model.set(key, { generation, offset })
          } else {
            table.withdraw(key, generation)
            if (model.get(key)?.generation === generation) model.delete(key)
          }
          const place = reader.find(key)
          if (place != null || add) expect(place!.offset).to.equal(model.get(key)?.offset)
        }
        let found = 0
        for (let n = 0; n < 200; n++) {
          const place = reader.find(`key/${n}`)
          if (place == null) continue
          found++
          expect(place.offset).to.equal(model.get(`key/${n}`)?.offset)
        }
        if (model.size <= 8) expect(found).to.equal(model.size)
      }),
    )
  })
})
