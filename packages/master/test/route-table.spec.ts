import { expect } from 'chai'
import fc from 'fast-check'
import { bitmapOf, hasBit, packKeys, unpackLengths } from '../dist/packed-keys.js'
import { KeyProbe } from '../dist/routes/key-probe.js'
import { RouteTable, type Superseded } from '../dist/routes/route-table.js'
import { DEAD, HIDDEN, VISIBLE } from '../dist/routes/segment-index.js'

const KEYS = ['a', 'b', 'c', 'ключ', 'x'.repeat(300)]

/** The table as it would be without a thought for memory. */
class Model {
  readonly keys = new Map<string, { byteLength: number; generation: number; segments: Map<number, number> }>()

  add(
    {
      key,
      generation,
      segment,
      ifAbsent,
    }: { key: string; generation: number; segment: number; ifAbsent: boolean },
    stamp: number,
    hidden: ReadonlySet<number>,
  ): string {
    const known = this.keys.get(key)
    if (known != null && generation < known.generation) return 'stale'
    const served = [...(known?.segments.keys() ?? [])].some(other => other !== segment && !hidden.has(other))
    if (ifAbsent && served && generation > known!.generation) return 'stale'
    if (known == null || generation > known.generation) {
      this.keys.set(key, { byteLength: generation * 10, generation, segments: new Map([[segment, stamp]]) })
    } else known.segments.set(segment, stamp)
    return 'ok'
  }

  drop(key: string, drop: (segment: number, stamp: number) => boolean): void {
    const known = this.keys.get(key)
    for (const [segment, stamp] of known?.segments ?? []) {
      if (drop(segment, stamp)) known!.segments.delete(segment)
    }
    if (known?.segments.size === 0) this.keys.delete(key)
  }
}

const key = fc.constantFrom(...KEYS)
const segment = fc.integer({ min: 0, max: 4 })
const generation = fc.integer({ min: 1, max: 5 })
const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('add' as const),
      key,
      segment,
      generation,
      ifAbsent: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('remove' as const), key, segment, generation }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('removeOwner' as const), key, segment, generation }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('hide' as const), segment }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('show' as const), segment }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('dropOld' as const), segment, stamp: fc.nat(30) }) },
)

function tableWithSegments(options: { ownersPerKeyMax?: number } = {}): RouteTable {
  const table = new RouteTable({ shardCount: 3, ...options })
  for (let i = 0; i < 5; i++) expect(table.segments.allocate(i)).to.equal(i)
  return table
}

function add(table: RouteTable, name: string, segmentNumber: number, gen = 1, stamp = 1): string {
  const superseded: Superseded[] = []
  return table.add(name, { byteLength: 10, generation: gen, segment: segmentNumber }, stamp, superseded)
}

describe('RouteTable', () => {
  it('does what a Map of Maps does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), async commands => {
        const table = tableWithSegments()
        const model = new Model()
        const hidden = new Set<number>()
        let stamp = 0
        for (const step of commands) {
          stamp++
          if (step.op === 'add') {
            const replica = {
              byteLength: step.generation * 10,
              generation: step.generation,
              segment: step.segment,
              ifAbsent: step.ifAbsent,
            }
            const before = model.keys.get(step.key)
            const others = [...(before?.segments.keys() ?? [])]
            const superseded: Superseded[] = []
            const result = table.add(step.key, replica, stamp, superseded)
            expect(result).to.equal(model.add(step, stamp, hidden))
            const isNewer = before != null && step.generation > before.generation && result === 'ok'
            expect(superseded.map(old => old.segment)).to.have.members(isNewer ? others : [])
          } else if (step.op === 'remove') {
            const known = model.keys.get(step.key)
            const goes = known?.segments.has(step.segment) === true && known.generation <= step.generation
            expect(table.remove(step.key, step.segment, step.generation)).to.equal(goes)
            if (goes) model.drop(step.key, candidate => candidate === step.segment)
          } else if (step.op === 'removeOwner') {
            const known = model.keys.get(step.key)
            table.removeOwner(step.key, step.segment, step.generation)
            if ((known?.generation ?? Infinity) <= step.generation) {
              model.drop(step.key, candidate => candidate === step.segment)
            }
          } else if (step.op === 'dropOld') {
            const drop = (candidate: number, stamped: number): boolean =>
              candidate === step.segment && stamped <= step.stamp
            await table.scan(reference => table.dropReplicas(reference, drop))
            for (const name of KEYS) model.drop(name, drop)
          } else {
            table.segments.setState(step.segment, step.op === 'hide' ? HIDDEN : VISIBLE)
            if (step.op === 'hide') hidden.add(step.segment)
            else hidden.delete(step.segment)
          }
          check(table, model, hidden)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('answers many keys at once as it answers each', () => {
    const table = tableWithSegments()
    const keys = Array.from({ length: 1000 }, (_, i) =>
      i % 3 === 0 ? `ключ-${i}` : 'k'.repeat(i % 7) + String(i),
    )
    keys.forEach((name, i) => {
      if (i % 2 === 0) add(table, name, i % 5)
    })
    table.segments.setState(1, HIDDEN)
    table.segments.setState(2, DEAD)
    for (const asked of [[], keys.slice(0, 1), keys.slice(7, 20), keys]) {
      const packed = packKeys(asked)
      const present = bitmapOf(asked.length)
      table.hasMany(packed.bytes, unpackLengths(packed), present)
      expect(asked.map((_, i) => hasBit(present, i))).to.deep.equal(asked.map(name => table.has(name)))
    }
  })

  it('tells apart keys whose hashes are equal', () => {
    const table = new RouteTable({ shardCount: 1 })
    table.segments.allocate(0)
    const [first, second] = ['first', 'second'].map(name => {
      const probe = new KeyProbe().ofText(name)
      probe.hash = 7
      return probe
    })
    const replica = { byteLength: 1, generation: 1, segment: 0 }
    table.add(first!, replica, 1, [])
    expect(table.has(second!)).to.equal(false)
    table.add(second!, { ...replica, byteLength: 2 }, 1, [])
    expect(table.find(first!)?.byteLength).to.equal(1)
    expect(table.find(second!)?.byteLength).to.equal(2)
    expect(table.remove(first!, 0, 1)).to.equal(true)
    expect([table.has(first!), table.has(second!)]).to.deep.equal([false, true])
  })

  it('goes on with a listing from any cursor, also when everything was removed meanwhile', () => {
    const table = tableWithSegments()
    for (let i = 0; i < 1000; i++) add(table, `key-${i}`, 0)
    const { cursor } = table.page(0, 100, '')
    for (const bogus of [cursor! + 1, cursor! - 1, 2 ** 40])
      expect(() => table.page(bogus, 10, '')).to.not.throw()
    for (let i = 0; i < 1000; i++) table.remove(`key-${i}`, 0, 1)
    expect(table.page(cursor!, 100, '')).to.deep.equal({ keys: [] })
    for (let i = 0; i < 1000; i++) add(table, `a-longer-key-${i}`, 0)
    for (const key of table.page(cursor!, 5000, '').keys) expect(key).to.match(/^a-longer-key-\d+$/)
  })

  it('ends a scan in good order when everything goes meanwhile', async () => {
    const table = tableWithSegments()
    for (let i = 0; i < 20_000; i++) add(table, `key-${i}`, 0)
    const seen: string[] = []
    await table.scan(
      reference => seen.push(table.keyOf(reference)),
      () => {
        for (let i = 0; i < 20_000; i++) table.remove(`key-${i}`, 0, 1)
        add(table, 'a key of another length', 1)
        return true
      },
    )
    expect(seen.every(name => name.startsWith('key-'))).to.equal(true)
    expect(seen).to.have.length.within(1, 19_999)
  })

  it('forgets dead segments without blocking, and uses their numbers again', async () => {
    const table = tableWithSegments()
    for (let i = 0; i < 40_000; i++) add(table, `key-${i}`, i % 2)
    for (let i = 0; i < 100; i++) add(table, `key-${i * 2}`, 1)
    table.segments.setState(0, DEAD)
    expect(table.has('key-2')).to.equal(true, 'it has another replica')
    expect(table.has('key-1000')).to.equal(false, 'unseen before the sweep')
    expect(table.keyCount).to.equal(40_000)
    let turns = 0
    const counting = setInterval(() => turns++, 0)
    await table.sweep()
    clearInterval(counting)
    expect(table.keyCount).to.equal(20_100)
    expect(table.find('key-2')?.segments).to.deep.equal([1])
    expect(turns).to.be.greaterThan(0, 'the event loop went on')
    expect(table.segments.allocate(9)).to.equal(0)
  })

  it('takes a key again that only a crashed node had, whatever its generation', () => {
    const table = tableWithSegments()
    add(table, 'a', 0, 7)
    table.segments.setState(0, DEAD)
    expect(add(table, 'a', 1, 3)).to.equal('ok')
    expect(table.find('a')).to.deep.equal({ byteLength: 10, generation: 3, segments: [1] })
  })

  it('keeps the first of racing puts, and only while somebody serves it', () => {
    const table = tableWithSegments()
    const put = (segment: number, generation: number): string =>
      table.add('a', { byteLength: 10, generation, segment, ifAbsent: true }, 1, [])
    expect(put(0, 5)).to.equal('ok')
    expect(put(1, 5)).to.equal('ok', 'a second replica of the same value')
    expect(put(2, 7)).to.equal('stale', 'numbered later, but the first may have been read')
    expect(put(2, 3)).to.equal('stale')
    for (const silent of [0, 1]) table.segments.setState(silent, HIDDEN)
    expect(put(2, 7)).to.equal('ok')
    expect(put(2, 8)).to.equal('ok', 'evicted and put again, and its removal not told yet')
    expect(put(2, 7)).to.equal('stale')
    expect(table.find('a')).to.deep.equal({ byteLength: 10, generation: 8, segments: [2] })
  })

  it('limits the owners of a key, not their tiers', () => {
    const table = new RouteTable({ ownersPerKeyMax: 1 })
    const [dram, ssd, other] = [
      table.segments.allocate(1),
      table.segments.allocate(1),
      table.segments.allocate(2),
    ]
    expect(add(table, 'a', dram)).to.equal('ok')
    expect(add(table, 'a', ssd)).to.equal('ok')
    expect(add(table, 'a', other)).to.equal('exceeded')
    expect(add(table, 'a', other, 2)).to.equal('ok', 'a newer generation replaces the owner')
    expect(table.find('a')?.segments).to.deep.equal([other])
  })

  it('lists page by page what is served', () => {
    const table = tableWithSegments()
    for (let i = 0; i < 1000; i++) add(table, `p${i % 2}-${i}`, i % 3)
    table.segments.setState(2, HIDDEN)
    const listed: string[] = []
    let cursor: number | undefined = 0
    while (cursor != null) {
      const page: { keys: string[]; cursor?: number } = table.page(cursor, 7, 'p1')
      expect(page.keys.length).to.be.at.most(7)
      listed.push(...page.keys)
      cursor = page.cursor
    }
    const expected = Array.from({ length: 1000 }, (_, i) => i).filter(i => i % 2 === 1 && i % 3 !== 2)
    expect(listed).to.have.members(expected.map(i => `p1-${i}`))
  })

  it('gives the memory of an empty shard back and works on', () => {
    const table = tableWithSegments()
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 2000; i++) add(table, `key-${i}`, 0)
      for (let i = 0; i < 2000; i++) expect(table.remove(`key-${i}`, 0, 1)).to.equal(true)
      expect(table.keyCount).to.equal(0)
    }
    expect(table.segments.replicaCount(0)).to.equal(0)
  })
})

function check(table: RouteTable, model: Model, hidden: ReadonlySet<number>): void {
  expect(table.keyCount).to.equal(model.keys.size)
  for (const name of KEYS) {
    const known = model.keys.get(name)
    const visible = [...(known?.segments.keys() ?? [])].filter(number => !hidden.has(number))
    expect(table.has(name)).to.equal(visible.length > 0)
    const found = table.find(name)
    expect(found?.segments ?? []).to.have.members(visible)
    if (found != null) {
      expect(found.generation).to.equal(known!.generation)
      expect(found.byteLength).to.equal(known!.byteLength)
    }
    expect(table.findAll(name)?.segments ?? []).to.have.members([...(known?.segments.keys() ?? [])])
  }
  const packed = packKeys(KEYS)
  const present = bitmapOf(KEYS.length)
  table.hasMany(packed.bytes, unpackLengths(packed), present)
  expect(KEYS.map((_, i) => hasBit(present, i))).to.deep.equal(KEYS.map(name => table.has(name)))
  for (let number = 0; number < 5; number++) {
    const holding = [...model.keys.values()].filter(known => known.segments.has(number))
    expect(table.segments.replicaCount(number)).to.equal(holding.length)
  }
}
