import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { createRegion } from '@mooncake-ts/memory'
import { randomUint32, until } from '@mooncake-ts/testkit'
import { allows, GrantReader, GrantTable, tableBytes } from '../dist/grant-table.js'
import {
  bytesOf,
  cleanUp,
  codes,
  expose,
  isFilledWith,
  nothingMoreThan,
  openThings,
  operation,
  privateRegionOf,
  regionOf,
  run,
  socketDirectory,
  startNode,
} from './support.js'

describe('the table of grants', () => {
  const range = { regionId: 7, offset: 100, byteLength: 50, access: 'read' } as const

  it('is found by the key alone, for as long as it is open', () => {
    using region = createRegion({ byteLength: tableBytes(4) })
    const table = new GrantTable(region)
    const reader = new GrantReader(region)
    const key = table.open(range)!
    const grant = reader.find(key)!
    expect(grant).to.include({ regionId: 7, offset: 100, byteLength: 50 })
    expect([allows(grant, 'read', 0, 50), allows(grant, 'read', 1, 50), allows(grant, 'write', 0, 1)]).to.eql(
      [true, false, false],
    )
    table.shut(key)
    expect([reader.holds(grant), reader.find(key)]).to.deep.equal([false, undefined])
  })

  it('does not take the next exposure in a slot for the one before', () => {
    using region = createRegion({ byteLength: tableBytes(1) })
    const table = new GrantTable(region)
    const reader = new GrantReader(region)
    const first = table.open(range)!
    const grant = reader.find(first)!
    expect(table.open(range)).to.equal(undefined)
    table.shut(first)
    const second = table.open(range)!
    expect([reader.holds(grant), reader.find(first)]).to.deep.equal([false, undefined])
    expect(reader.find(second)!.slot).to.equal(grant.slot)
  })
})

describe('exposures', function () {
  this.timeout(30_000)
  const directory = socketDirectory()
  afterEach(cleanUp)

  it('that are more than the table holds are left to other transports', async () => {
    const { transport: a } = await startNode({ socketDirectory: directory })
    const { transport: b } = await startNode({ socketDirectory: directory, grantsMax: 2 })
    const region = regionOf(100, 1)
    const exposures = [1, 2, 3].map(() => expose(b, region))
    expect(exposures.map(({ window }) => a.reaches(window))).to.deep.equal([true, true, false])
    const ops = exposures.map(({ window }) => operation('read', regionOf(100), window))
    expect(codes(await run(a, ops))).to.deep.equal(['OK', 'OK', 'ERR_ACCESS_DENIED'])
    await Promise.all(exposures.map(exposure => exposure.revoke()))
    expect(a.reaches(expose(b, region).window)).to.equal(true)
  })

  it('that are revoked and used again while they are read give the old bytes, or none', async () => {
    const { transport: reader } = await startNode({ socketDirectory: directory, copyRunBytes: mib(1) })
    const { transport: owner } = await startNode({ socketDirectory: directory })
    const source = regionOf(mib(1))
    const target = regionOf(mib(1))
    const random = randomUint32(11)
    const outcomes = new Set<string>()
    for (let round = 1; round <= 400; round++) {
      const value = 1 + (round % 200)
      bytesOf(source).fill(value)
      const exposure = expose(owner, source, 'read')
      const reading = run(reader, [operation('read', target, exposure.window)])
      // The copy runs on threads meanwhile.
      for (let turns = random() % 3; turns > 0; turns--) await nextTurn()
      const revoked = exposure.revoke()
      bytesOf(source).fill(255)
      await revoked
      const [code] = codes(await reading)
      outcomes.add(code!)
      expect(isFilledWith(bytesOf(target), code === 'OK' ? value : 0), `${round}: ${code}`).to.equal(true)
      bytesOf(target).fill(0)
    }
    expect([...outcomes].sort()).to.deep.equal(['ERR_ACCESS_DENIED', 'OK'])
  })

  it('of a closed region are gone, and its memory is unmapped at the peer', async () => {
    const { transport: a } = await startNode({ socketDirectory: directory })
    const { transport: b } = await startNode({ socketDirectory: directory })
    const target = regionOf(mib(1))
    const warm = regionOf(100)
    expect(codes(await run(a, [operation('read', regionOf(100), expose(b, warm).window)]))).to.eql(['OK'])
    const before = openThings()
    for (let i = 0; i < 20; i++) {
      const region = createRegion({ byteLength: mib(1), label: 'short-lived' })
      const { window } = expose(b, region)
      expect(codes(await run(a, [operation('read', target, window)]))).to.deep.equal(['OK'])
      expect(codes(await run(a, [operation('write', region, expose(b, target).window)]))).to.eql(['OK'])
      region.close()
      expect(codes(await run(a, [operation('read', target, window)]))).to.deep.equal(['ERR_ACCESS_DENIED'])
    }
    await nothingMoreThan(before)
  })

  it('in more regions than stay mapped work all the same', async () => {
    const options = { socketDirectory: directory, regionsMaxPerPeer: 3 }
    const { transport: a } = await startNode(options)
    const { transport: b } = await startNode(options)
    const regions = Array.from({ length: 10 }, (_, i) => regionOf(kib(4), i + 1))
    const windows = regions.map(region => expose(b, region).window)
    const target = regionOf(kib(4))
    for (let round = 0; round < 2; round++) {
      for (const [i, window] of windows.entries()) {
        expect(codes(await run(a, [operation('read', target, window)]))).to.deep.equal(['OK'])
        expect(isFilledWith(bytesOf(target), i + 1)).to.equal(true)
      }
    }
    for (const [i, region] of regions.entries()) {
      expect(codes(await run(a, [operation('write', region, expose(b, target).window)]))).to.eql(['OK'])
      expect(isFilledWith(bytesOf(target), i + 1)).to.equal(true)
    }
  })

  for (const [whose, local, remote] of [
    ['the peer', regionOf, privateRegionOf],
    ['this end', privateRegionOf, regionOf],
    ['both', privateRegionOf, privateRegionOf],
  ] as const) {
    for (const byteLength of [1, mib(1), mib(5) + 1]) {
      it(`reach memory of ${whose} that cannot be mapped: ${byteLength}`, async () => {
        const options = { socketDirectory: directory, stagingBytesPerPeer: mib(2) }
        const { transport: a } = await startNode(options)
        const { transport: b } = await startNode(options)
        const ours = local(byteLength, 1)
        const theirs = remote(byteLength, 2)
        const { window } = expose(b, theirs)
        expect(codes(await run(a, [operation('read', ours, window)]))).to.deep.equal(['OK'])
        expect(isFilledWith(bytesOf(ours), 2)).to.equal(true)
        bytesOf(ours).fill(3)
        expect(codes(await run(a, [operation('write', ours, window)]))).to.deep.equal(['OK'])
        expect(isFilledWith(bytesOf(theirs), 3)).to.equal(true)
      })
    }
  }

  it('in private memory end an abort at rest, and do not keep staging memory', async () => {
    const options = { socketDirectory: directory, stagingBytesPerPeer: mib(1) }
    const { transport: a } = await startNode(options)
    const { transport: b } = await startNode(options)
    const theirs = privateRegionOf(mib(8), 2)
    const { window } = expose(b, theirs)
    const ours = privateRegionOf(mib(8), 1)
    for (const kind of ['read', 'write'] as const) {
      for (let round = 0; round < 10; round++) {
        const controller = new AbortController()
        const moving = run(a, [operation(kind, ours, window)], controller.signal)
        let turns = 0
        await until(() => turns++ >= round * 3)
        controller.abort(new Error('enough'))
        await moving.catch(() => {})
      }
      expect(codes(await run(a, [operation(kind, ours, window)]))).to.deep.equal(['OK'])
    }
  })

  it('are read by view in place, until they are revoked', async () => {
    const { transport: a } = await startNode({ socketDirectory: directory })
    const { transport: b } = await startNode({ socketDirectory: directory })
    const region = regionOf(mib(1), 5)
    const exposure = expose(b, region, 'read')
    const { signal } = new AbortController()
    const remote = { window: exposure.window, offset: 10, byteLength: 1000 }
    const view = await a.view(remote, { signal })
    expect([view.valid, isFilledWith(view.bytes, 5), view.bytes.byteLength]).to.deep.equal([true, true, 1000])
    region.view(10, 1)[0] = 6
    expect(view.bytes[0]).to.equal(6)
    await exposure.revoke()
    expect(view.valid).to.equal(false)
    const again: unknown = await a.view(remote, { signal }).catch((error: unknown) => error)
    expect(again).to.have.property('code', 'ERR_ACCESS_DENIED')
    const hidden = { ...remote, window: expose(b, privateRegionOf(2000)).window }
    const refused: unknown = await a.view(hidden, { signal }).catch((error: unknown) => error)
    expect(refused).to.have.property('code', 'ERR_NOT_SUPPORTED')
  })
})
