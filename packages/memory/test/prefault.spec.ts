import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { GIB, MIB, type MooncakeError } from '@mooncake-ts/core'
import { createRegion, memoryStats, wrapBuffer } from '@mooncake-ts/memory'
import {
  canAskForHugePages,
  fixture,
  hugeBytes,
  nothingLive,
  packageRoot,
  rejectsCode,
  residentBytes,
} from './support.js'

describe('Region.prefault', () => {
  beforeEach(nothingLive)

  it('takes every page, off this thread', async () => {
    using region = createRegion({ byteLength: 48 * MIB + 1, label: 'prefaulted' })
    expect(residentBytes('prefaulted')).to.be.below(MIB)
    let turns = 0
    const turning = setInterval(() => turns++)
    await region.prefault()
    clearInterval(turning)
    expect(residentBytes('prefaulted')).to.be.at.least(48 * MIB + 1)
    expect(turns).to.be.at.least(1)
  })

  it('takes huge pages where it can, unless they are off', async function () {
    if (!canAskForHugePages()) this.skip()
    using huge = createRegion({ byteLength: 9 * MIB, label: 'huge' })
    using small = createRegion({ byteLength: 9 * MIB, label: 'small', hugePages: 'off' })
    const written = Buffer.from('before')
    huge.view(3 * MIB, written.length).set(written)
    await Promise.all([huge.prefault(), small.prefault()])
    // Of four whole ones; memory may be in pieces.
    expect(hugeBytes('huge')).to.be.within(2 * MIB, 8 * MIB)
    expect(hugeBytes('small')).to.equal(0)
    expect(written.equals(huge.view(3 * MIB, written.length))).to.equal(true)
  })

  it('leaves the bytes as they are, written before or meanwhile', async () => {
    const byteLengths = fc.integer({ min: 1, max: 6 * MIB })
    const writes = fc.array(
      fc.record({ at: fc.double({ min: 0, max: 1, maxExcluded: true }), byte: fc.nat(255) }),
    )
    await fc.assert(
      fc.asyncProperty(byteLengths, writes, writes, async (byteLength, before, meanwhile) => {
        using region = createRegion({ byteLength })
        const bytes = region.view(0, byteLength)
        const expected = Buffer.alloc(byteLength)
        const write = ({ at, byte }: { at: number; byte: number }): void => {
          expected[Math.floor(at * byteLength)] = bytes[Math.floor(at * byteLength)] = byte
        }
        before.forEach(write)
        const prefaulting = region.prefault()
        meanwhile.forEach(write)
        await prefaulting
        expect(expected.equals(bytes)).to.equal(true)
      }),
      { numRuns: 30 },
    )
  })

  it('runs once for those who ask while it runs, and again later', async () => {
    using region = createRegion({ byteLength: 4 * MIB })
    const first = region.prefault()
    expect(region.prefault()).to.equal(first)
    await first
    expect(region.prefault()).to.not.equal(first)
    await region.prefault()
  })

  it('ends early when the region is closed, and has let go of it then', async () => {
    const region = createRegion({ byteLength: 64 * GIB })
    const prefaulting = region.prefault()
    region.close()
    expect(memoryStats().liveRegions).to.equal(1)
    await rejectsCode(prefaulting, 'ERR_REGION_CLOSED')
    expect(memoryStats().liveRegions).to.equal(0)
    await rejectsCode(region.prefault(), 'ERR_REGION_CLOSED')
  })

  it('leaves the bytes of a caller alone', async () => {
    using region = wrapBuffer(new Uint8Array(100))
    await region.prefault()
    region.close()
    await rejectsCode(region.prefault(), 'ERR_REGION_CLOSED')
  })

  it('serves many regions in turns, so that one is closed soon whatever the others do', async () => {
    const regions = Array.from({ length: 20 }, () => createRegion({ byteLength: 64 * GIB }))
    const outcomes = regions.map(region => region.prefault().catch((error: MooncakeError) => error.code))
    const last = regions.pop()!
    last.close()
    expect(await outcomes.pop()).to.equal('ERR_REGION_CLOSED')
    expect(memoryStats().liveRegions).to.equal(regions.length)
    for (const region of regions) region.close()
    expect(new Set(await Promise.all(outcomes))).to.deep.equal(new Set(['ERR_REGION_CLOSED']))
  })
})

describe('Region.prefault, where the system refuses', () => {
  const launcher = join(packageRoot, '.cache', 'native-test', 'refuse-populate')
  const ENOMEM = '12'
  const EINVAL = '22'

  before(function () {
    this.timeout(30_000)
    mkdirSync(join(packageRoot, '.cache', 'native-test'), { recursive: true })
    const source = join(packageRoot, 'native', 'test', 'refuse_populate.c')
    const { status, stderr } = spawnSync(process.env['CC'] ?? 'cc', ['-o', launcher, source], {
      encoding: 'utf8',
    })
    expect(status, stderr).to.equal(0)
  })

  const prefaultUnder = (errno: string): string => {
    const args = [errno, process.execPath, fixture('prefault.js')]
    const { stdout, stderr } = spawnSync(launcher, args, { encoding: 'utf8', timeout: 20_000 })
    return stdout + stderr
  }

  it('reports that there is no memory, with the size and the reason', () => {
    expect(prefaultUnder(ENOMEM)).to.equal(
      'ERR_OUT_OF_MEMORY No memory for the pages of a region of 33554432 bytes: Cannot allocate memory',
    )
  })

  it('touches each page where the kernel does not know how to populate', () => {
    expect(prefaultUnder(EINVAL)).to.equal('33554432 resident, bytes kept')
  })
})
