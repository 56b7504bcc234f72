import { closeSync, readFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { expect } from 'chai'
import { KIB, MIB } from '@mooncake-ts/core'
import {
  createCopyPool,
  createRegion,
  detachView,
  mapRegion,
  memoryStats,
  sliceOf,
  wrapBuffer,
} from '@mooncake-ts/memory'
import { eventually, nothingLive, rejectsCode, throwsCode } from './support.js'

describe('createRegion', () => {
  it('makes zeroed memory of exactly the size asked for', () => {
    using region = createRegion({ byteLength: 5000 })
    expect(region.byteLength).to.equal(5000)
    expect(region.kind).to.equal('host')
    expect(Buffer.from(region.view(0, 5000)).equals(Buffer.alloc(5000))).to.equal(true)
  })

  it('shows its label in the map of the process', () => {
    using region = createRegion({ byteLength: 4096, label: 'segment-7' })
    expect(readFileSync('/proc/self/maps', 'utf8')).to.contain('mooncake:segment-7')
    expect(region.closed).to.equal(false)
  })

  it('starts at a boundary of 2 MiB', () => {
    using region = createRegion({ byteLength: 3 * MIB, label: 'aligned' })
    const line = readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .find(line => line.includes('mooncake:aligned'))
    expect(parseInt(line!, 16) % (2 * MIB)).to.equal(0)
    expect(region.byteLength).to.equal(3 * MIB)
  })

  it('gives every region an id of its own', () => {
    const regions = [1, 2, 3].map(() => createRegion({ byteLength: 1 }))
    regions.push(wrapBuffer(Buffer.alloc(1)))
    expect(new Set(regions.map(region => region.id)).size).to.equal(4)
    expect(Math.floor(regions[0]!.id / 2 ** 32)).to.equal(threadId)
    for (const region of regions) region.close()
  })

  it('tells what it could not have, and goes without it', () => {
    const warnings: string[] = []
    const onWarning = (message: string): unknown => warnings.push(message)
    for (const hugePages of ['off', 'transparent', '2MiB', '1GiB'] as const) {
      using region = createRegion({ byteLength: 10, hugePages, numaNode: 1000, label: hugePages, onWarning })
      region.view(0, 10).fill(1)
      expect(
        warnings.filter(warning => warning.includes(hugePages) && warning.includes('NUMA node 1000')),
      ).to.have.length(1)
    }
  })

  it('is silent about huge pages that nobody asked for', () => {
    const warnings: string[] = []
    createRegion({ byteLength: 10, onWarning: message => warnings.push(message) }).close()
    expect(warnings).to.deep.equal([])
  })

  it('reports memory that the system refuses', () => {
    throwsCode(() => createRegion({ byteLength: 2 ** 52 }), 'ERR_OUT_OF_MEMORY')
  })

  it('refuses options that make no sense', () => {
    for (const byteLength of [0, -1, 1.5, NaN, 2 ** 60]) {
      throwsCode(() => createRegion({ byteLength }), 'ERR_INVALID_PARAMS')
    }
    throwsCode(() => createRegion({ byteLength: 1, hugePages: '4MiB' as 'off' }), 'ERR_INVALID_PARAMS')
    throwsCode(() => createRegion({ byteLength: 1, numaNode: -1 }), 'ERR_INVALID_PARAMS')
  })
})

describe('Region.view', () => {
  it('is a window on the bytes themselves', () => {
    using region = createRegion({ byteLength: 64 * KIB })
    const whole = region.view(0, 64 * KIB)
    const part = region.view(1000, 24)
    part.fill(7)
    expect(whole.subarray(999, 1025)).to.deep.equal(new Uint8Array([0, ...Array<number>(24).fill(7), 0]))
    whole[1000] = 9
    expect(part[0]).to.equal(9)
  })

  it('reaches the last byte, and may be empty anywhere', () => {
    using region = createRegion({ byteLength: 100 })
    region.view(99, 1)[0] = 1
    for (const offset of [0, 50, 50, 100]) expect(region.view(offset, 0).byteLength).to.equal(0)
  })

  it('refuses whatever is not inside', () => {
    using region = createRegion({ byteLength: 100 })
    using wrapped = wrapBuffer(Buffer.alloc(100))
    const outside = [
      [0, 101],
      [100, 1],
      [101, 0],
      [-1, 2],
      [0, -1],
      [0.5, 1],
      [0, 1.5],
      [NaN, 1],
      [2 ** 53, 1],
    ]
    for (const [offset, byteLength] of outside) {
      throwsCode(() => region.view(offset!, byteLength!), 'ERR_SLICE_OUT_OF_BOUNDS')
      throwsCode(() => wrapped.view(offset!, byteLength!), 'ERR_SLICE_OUT_OF_BOUNDS')
    }
  })

  it('spans 4 GiB boundaries of large regions', () => {
    const byteLength = 5 * 1024 * MIB
    using region = createRegion({ byteLength })
    region.view(byteLength - 1, 1)[0] = 3
    expect(region.view(byteLength - 2, 2)).to.deep.equal(new Uint8Array([0, 3]))
    throwsCode(() => region.view(0, byteLength), 'ERR_NOT_SUPPORTED')
  })

  it('keeps the memory when the region is closed', async () => {
    await nothingLive()
    const region = createRegion({ byteLength: 4096 })
    const view = region.view(0, 4096).fill(5)
    region.close()
    expect(memoryStats().liveRegions).to.equal(1)
    expect(view.every(byte => byte === 5)).to.equal(true)
  })
})

describe('Region.close', () => {
  beforeEach(nothingLive)

  it('gives the memory back at once when nobody uses it', () => {
    const region = createRegion({ byteLength: MIB })
    expect(memoryStats()).to.deep.equal({ liveRegions: 1, liveBytes: MIB, wrappedRegions: 0 })
    region.close()
    region.close()
    expect(memoryStats()).to.deep.equal({ liveRegions: 0, liveBytes: 0, wrappedRegions: 0 })
    expect(region.closed).to.equal(true)
    expect(region.byteLength).to.equal(MIB)
  })

  it('refuses views afterwards', () => {
    for (const region of [createRegion({ byteLength: 10 }), wrapBuffer(Buffer.alloc(10))]) {
      region.close()
      throwsCode(() => region.view(0, 1), 'ERR_REGION_CLOSED')
      throwsCode(() => sliceOf(region), 'ERR_REGION_CLOSED')
      expect(region.fd).to.equal(-1)
    }
  })

  it('runs every listener once, while the memory is there still', () => {
    const heard: string[] = []
    const region = createRegion({ byteLength: 10 })
    region.onClose(() => {
      heard.push('first')
      throw new Error('of the first')
    })
    region.onClose(() => heard.push(`second, ${memoryStats().liveRegions} live`))
    expect(() => region.close()).to.throw('of the first')
    region.close()
    expect(heard).to.deep.equal(['first', 'second, 1 live'])
    region.onClose(() => heard.push('late'))
    expect(heard.at(-1)).to.equal('late')
  })
})

describe('wrapBuffer', () => {
  it('is the caller’s bytes, without a copy', () => {
    const bytes = Buffer.from('some bytes of the pool')
    using region = wrapBuffer(bytes)
    expect(region.byteLength).to.equal(bytes.byteLength)
    expect(region.fd).to.equal(-1)
    region.view(5, 5)[0] = 'B'.charCodeAt(0)
    expect(bytes.toString()).to.equal('some Bytes of the pool')
  })

  it('takes empty bytes, and bytes that V8 keeps in its own heap', () => {
    using empty = wrapBuffer(new Uint8Array(0))
    expect(empty.view(0, 0).byteLength).to.equal(0)
    const small = new Uint8Array([1, 2, 3])
    using region = wrapBuffer(small)
    expect(region.view(0, 3)).to.deep.equal(small)
  })

  it('refuses what is not a Uint8Array', () => {
    throwsCode(() => wrapBuffer('text' as unknown as Uint8Array), 'ERR_INVALID_PARAMS')
  })
})

describe('mapRegion', () => {
  it('shares the memory of another region', () => {
    const region = createRegion({ byteLength: 10_000 })
    const other = mapRegion(region.fd, 10_000)
    expect(other.fd).to.not.equal(region.fd)
    region.view(9_999, 1)[0] = 4
    region.close()
    expect(other.view(9_999, 1)[0]).to.equal(4)
    other.close()
  })

  it('refuses descriptors that could end in SIGBUS', () => {
    using region = createRegion({ byteLength: 4096 })
    throwsCode(() => mapRegion(region.fd, 1_000_000), 'ERR_INVALID_PARAMS')
    throwsCode(() => mapRegion(0, 1), 'ERR_INVALID_PARAMS')
    throwsCode(() => mapRegion(-1, 1), 'ERR_INVALID_PARAMS')
    throwsCode(() => mapRegion(2 ** 31 - 1, 1), 'ERR_INVALID_PARAMS')
  })

  it('is for reading only: copies into it are refused, its pages are left alone', async () => {
    using region = createRegion({ byteLength: 4096 })
    using other = mapRegion(region.fd, 4096)
    expect([region.readOnly, other.readOnly]).to.deep.equal([false, true])
    const pool = createCopyPool()
    await rejectsCode(pool.copy([{ from: sliceOf(region), to: sliceOf(other) }]), 'ERR_ACCESS_DENIED')
    await pool.copy([{ from: sliceOf(other), to: sliceOf(region) }])
    await pool.close()
    await other.prefault()
  })

  it('leaves the caller’s descriptor to the caller', () => {
    using region = createRegion({ byteLength: 4096 })
    using first = mapRegion(region.fd, 4096)
    const passed = first.fd
    using second = mapRegion(passed, 4096)
    first.close()
    expect(() => closeSync(passed)).to.throw('EBADF')
    expect(second.view(0, 1)[0]).to.equal(0)
  })
})

describe('detachView', () => {
  it('empties every array over the view, and releases the region', async () => {
    await nothingLive()
    const region = createRegion({ byteLength: 4096 })
    const view = region.view(8, 100)
    const part = view.subarray(2)
    region.close()
    expect(memoryStats().liveRegions).to.equal(1)
    detachView(view)
    detachView(view)
    expect([view.byteLength, part.byteLength]).to.deep.equal([0, 0])
    await eventually(() => memoryStats().liveRegions === 0, 'the region is released')
  })
})

describe('slices', () => {
  it('default to all that follows', () => {
    using region = createRegion({ byteLength: 100 })
    expect(sliceOf(region)).to.deep.equal({ region, offset: 0, byteLength: 100 })
    expect(sliceOf(region, 40)).to.deep.equal({ region, offset: 40, byteLength: 60 })
    expect(sliceOf(region, 100).byteLength).to.equal(0)
    throwsCode(() => sliceOf(region, 101), 'ERR_SLICE_OUT_OF_BOUNDS')
    throwsCode(() => sliceOf(region, 1, 100), 'ERR_SLICE_OUT_OF_BOUNDS')
  })
})
