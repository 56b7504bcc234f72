import { expect } from 'chai'
import { MIB, type CopyPool, type Region } from '@mooncake-ts/core'
import { crc32c, createCopyPool, createRegion, memoryStats, sliceOf, wrapBuffer } from '@mooncake-ts/memory'
import { nothingLive, rejectsCode, throwsCode } from './support.js'

/** Bytes that repeat with no power of two. */
const pattern = (byteLength: number): Buffer =>
  Buffer.alloc(byteLength, Buffer.from(Array.from({ length: 251 }, (_, i) => i)))

describe('CopyPool', () => {
  const bytes = 9 * MIB + 77
  let pool: CopyPool
  let from: Region
  let to: Region

  beforeEach(() => {
    pool = createCopyPool()
    from = wrapBuffer(pattern(bytes))
    to = createRegion({ byteLength: bytes })
  })

  afterEach(async () => {
    await pool.close()
    from.close()
    to.close()
  })

  it('copies large slices and small', async () => {
    await pool.copy([{ from: sliceOf(from), to: sliceOf(to) }])
    expect(Buffer.compare(to.view(0, bytes), pattern(bytes))).to.equal(0)
    await pool.copy([{ from: sliceOf(from, 1, 10), to: sliceOf(to, 100, 10) }])
    expect(to.view(99, 12)).to.deep.equal(new Uint8Array([99, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 110]))
  })

  it('checksums large slices and small, in order', async () => {
    const slices = [sliceOf(from), sliceOf(from, 5, 0), sliceOf(from, 3, 2 * MIB), sliceOf(from, bytes - 1)]
    const expected = slices.map(({ offset, byteLength }) => crc32c(from.view(offset, byteLength)))
    expect([...(await pool.checksum(slices))]).to.deep.equal(expected)
    expect([...(await pool.checksum(slices.slice(1, 2)))]).to.deep.equal([0])
    expect([...pool.checksumNow(slices)]).to.deep.equal(expected)
  })

  it('gathers slices into bytes, and scatters bytes over slices', () => {
    const slices = [sliceOf(from, 100, 5000), sliceOf(from, 0, 0), sliceOf(from, 77, 3)]
    const bytes = new Uint8Array(5010)
    pool.gather(slices, bytes)
    const expected = Buffer.concat([
      pattern(6000).subarray(100, 5100),
      pattern(80).subarray(77),
      Buffer.alloc(7),
    ])
    expect(Buffer.compare(bytes, expected)).to.equal(0)
    pool.scatter(bytes, [sliceOf(to, 9000, 5000), sliceOf(to, 20, 3)])
    expect(Buffer.compare(to.view(9000, 5000), expected.subarray(0, 5000))).to.equal(0)
    expect(Buffer.compare(to.view(19, 5), Buffer.from([0, ...expected.subarray(5000, 5003), 0]))).to.equal(0)
  })

  it('gathers and scatters all or nothing', () => {
    const slices = [sliceOf(to, 0, 10), { region: to, offset: bytes - 1, byteLength: 2 }]
    throwsCode(() => {
      pool.scatter(pattern(12), slices)
    }, 'ERR_SLICE_OUT_OF_BOUNDS')
    for (const tooMuch of [[sliceOf(to, 0, 10), sliceOf(to, 10, 3)]]) {
      throwsCode(() => {
        pool.scatter(pattern(12), tooMuch)
      }, 'ERR_SLICE_OUT_OF_BOUNDS')
      throwsCode(() => {
        pool.gather(tooMuch, new Uint8Array(12))
      }, 'ERR_SLICE_OUT_OF_BOUNDS')
    }
    expect(to.view(0, 13).every(byte => byte === 0)).to.equal(true)
  })

  it('settles empty batches', async () => {
    await pool.copy([])
    await pool.copy([{ from: sliceOf(from, 3, 0), to: sliceOf(to, bytes, 0) }])
    expect((await pool.checksum([])).length).to.equal(0)
  })

  it('moves bytes that overlap themselves, in both directions', async () => {
    const model = pattern(bytes)
    for (const [offset, target] of [
      [0, 1000],
      [5000, 4000],
    ] as const) {
      const byteLength = bytes - 6000
      await pool.copy([{ from: sliceOf(from, offset, byteLength), to: sliceOf(from, target, byteLength) }])
      model.copyWithin(target, offset, offset + byteLength)
      expect(Buffer.compare(from.view(0, bytes), model)).to.equal(0)
    }
  })

  it('refuses a batch as a whole, before a byte has moved', async () => {
    const good = { from: sliceOf(from, 1, 5), to: sliceOf(to, 0, 5) }
    const beyond = { region: to, offset: bytes - 4, byteLength: 5 }
    await rejectsCode(pool.copy([good, { from: good.from, to: beyond }]), 'ERR_SLICE_OUT_OF_BOUNDS')
    await rejectsCode(pool.copy([good, { from: beyond, to: good.to }]), 'ERR_SLICE_OUT_OF_BOUNDS')
    await rejectsCode(
      pool.copy([good, { from: good.from, to: sliceOf(to, 0, 6) }]),
      'ERR_SLICE_OUT_OF_BOUNDS',
    )
    await rejectsCode(pool.checksum([beyond]), 'ERR_SLICE_OUT_OF_BOUNDS')
    const closed = createRegion({ byteLength: 5 })
    const late = sliceOf(closed)
    closed.close()
    await rejectsCode(pool.copy([good, { from: late, to: good.to }]), 'ERR_REGION_CLOSED')
    expect(to.view(0, 5)).to.deep.equal(new Uint8Array(5))
  })

  it('does not trust a Region that is not what it says', async () => {
    const liar = {
      ...from,
      id: 1,
      byteLength: 2 * bytes,
      closed: false,
      handle: from.handle,
    } as unknown as Region
    const op = { from: { region: liar, offset: bytes - 1, byteLength: 2 }, to: sliceOf(to, 0, 2) }
    await rejectsCode(pool.copy([op]), 'ERR_SLICE_OUT_OF_BOUNDS')
    for (const handle of [undefined, {}, 5]) {
      const impostor = { ...liar, handle } as unknown as Region
      await rejectsCode(pool.checksum([{ region: impostor, offset: 0, byteLength: 1 }]), 'ERR_INVALID_PARAMS')
    }
  })

  it('refuses a Region that its owner closed, whatever the wrapper says', async () => {
    const closed = createRegion({ byteLength: 5 })
    closed.close()
    const undead = { id: 1, byteLength: 5, closed: false, handle: closed.handle } as unknown as Region
    await rejectsCode(
      pool.checksum([{ region: undead, offset: 0, byteLength: 1 }]),
      'ERR_SLICE_OUT_OF_BOUNDS',
    )
    expect([...(await pool.checksum([{ region: undead, offset: 0, byteLength: 0 }]))]).to.deep.equal([0])
  })

  it('refuses what exceeds its limit, but never a batch alone', async () => {
    const narrow = createCopyPool({ threads: 1, inlineBytesMax: 0, inflightOpsMax: 2 })
    const op = { from: sliceOf(from), to: sliceOf(to) }
    const alone = narrow.copy([op, op, op])
    await rejectsCode(narrow.copy([op]), 'ERR_OVERLOADED')
    await alone
    await narrow.copy([op])
    await narrow.close()
  })

  it('waits for what is in flight when it is closed, and takes no more', async () => {
    const other = createCopyPool({ threads: 1 })
    let copied = false
    const copying = other.copy([{ from: sliceOf(from), to: sliceOf(to) }]).then(() => (copied = true))
    const closing = other.close()
    expect(other.close()).to.equal(closing)
    await rejectsCode(other.copy([]), 'ERR_SHUTTING_DOWN')
    await closing
    expect(copied).to.equal(true)
    await copying
  })

  it('refuses options that make no sense', () => {
    for (const threads of [0, 65, 1.5, NaN])
      throwsCode(() => createCopyPool({ threads }), 'ERR_INVALID_PARAMS')
    throwsCode(() => createCopyPool({ inlineBytesMax: -1 }), 'ERR_INVALID_PARAMS')
    throwsCode(() => createCopyPool({ inflightOpsMax: 0 }), 'ERR_INVALID_PARAMS')
  })
})

describe('Regions that are closed while a copy is in flight', () => {
  before(nothingLive)

  it('keep their memory until it is done', async () => {
    await using pool = createCopyPool()
    const from = createRegion({ byteLength: 16 * MIB })
    const to = createRegion({ byteLength: 16 * MIB })
    const settled: string[] = []
    const copying = pool.copy([{ from: sliceOf(from), to: sliceOf(to) }]).then(() => settled.push('copy'))
    const checking = pool.checksum([sliceOf(from)]).then(() => settled.push('checksum'))
    from.close()
    to.close()
    const { liveRegions } = memoryStats()
    await Promise.all([copying, checking])
    expect(settled).to.have.members(['copy', 'checksum'])
    expect(liveRegions).to.equal(2)
    expect(memoryStats()).to.deep.equal({ liveRegions: 0, liveBytes: 0, wrappedRegions: 0 })
  })
})
