import { expect } from 'chai'
import { MooncakeError, silentLogger } from '@mooncake-ts/core'
import type { Completion, MemoryProvider, ReadRoute, Region, Slice } from '@mooncake-ts/core'
import { Deadline } from '../../dist/engine/deadline.js'
import { Viewer, type ViewerInit } from '../../dist/engine/viewer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Harness } from '../local/support/harness.js'

/** A viewer that has to copy everything; the objects are `lengths`, and each byte of one is its length. */
function copyingViewer({ memory, backend, clock }: Harness, lengths: Map<string, number>) {
  const lookUps: number[] = []
  const forgotten: string[] = []
  const regions: Region[] = []
  const grows = new Set<string>()
  const viewer = new Viewer({
    backend,
    unannounced: new Unannounced(),
    clock,
    logger: silentLogger,
    memory: {
      createRegion: (...args: Parameters<MemoryProvider['createRegion']>) => {
        regions.push(memory.createRegion(...args))
        return regions.at(-1)!
      },
    },
    router: {
      cached: () => undefined,
      lookUp: (keys: readonly string[]) => {
        lookUps.push(keys.length)
        const routeOf = (key: string): ReadRoute | undefined =>
          lengths.has(key) ? { byteLength: lengths.get(key)!, generation: 1, replicas: [] } : undefined
        return Promise.resolve(keys.map(routeOf))
      },
      forget: (key: string) => void forgotten.push(key),
    },
    reader: {
      run: (keys: string[], targets: Slice[], _terms: unknown, emit: (completion: Completion) => void) => {
        keys.forEach((key, index) => {
          const { region, offset, byteLength } = targets[index]!
          if (grows.delete(key)) lengths.set(key, byteLength + 1)
          const bytes = lengths.get(key)!
          if (bytes > byteLength)
            return emit({ index, bytes: 0, error: new MooncakeError('ERR_BUFFER_OVERFLOW') })
          region.view(offset, bytes).fill(bytes)
          emit({ index, bytes })
        })
        return Promise.resolve()
      },
    },
    transports: [],
    nodeId: 'self',
    viewsMax: 1000,
  } as unknown as ViewerInit)
  const views = async (keys: string[]) => {
    using deadline = new Deadline(clock, 1000, undefined)
    return await viewer.views(keys, deadline)
  }
  return { viewer, views, lookUps, forgotten, regions, grows }
}

describe('Viewer, of what it has to copy', () => {
  it('asks once for all, and needs one Region for many', async () => {
    await using harness = Harness.dram(100)
    const keys = Array.from({ length: 300 }, (_, i) => `k${i}`)
    const lengths = new Map(keys.map((key, i) => [key, i % 200]))
    const { viewer, views, lookUps, regions } = copyingViewer(harness, lengths)
    const got = await views([...keys, 'none', 'k1'])
    expect(lookUps).to.deep.equal([301])
    expect(regions).to.have.length(2)
    expect(regions.every(region => region.closed)).to.equal(true)
    expect(got[300]).to.equal(undefined)
    for (const [i, key] of [...keys, 'none', 'k1'].entries()) {
      if (key === 'none') continue
      const length = lengths.get(key)!
      expect([got[i]!.key, got[i]!.source]).to.deep.equal([key, 'copy'])
      expect(Buffer.from(got[i]!.bytes).equals(Buffer.alloc(length, length))).to.equal(true)
    }
    got[0]![Symbol.dispose]()
    expect(got[1]!.bytes[0], 'each has a life of its own').to.equal(1)
    viewer.close()
  })

  it('tries again for those that have grown meanwhile, and only for those', async () => {
    await using harness = Harness.dram(100)
    const lengths = new Map([
      ['a', 10],
      ['b', 20],
    ])
    const { viewer, views, lookUps, forgotten, grows } = copyingViewer(harness, lengths)
    grows.add('b')
    const got = await views(['a', 'b'])
    expect(got.map(view => view!.bytes.byteLength)).to.deep.equal([10, 21])
    expect([lookUps, forgotten]).to.deep.equal([[2, 1], ['b']])
    viewer.close()
  })

  it('counts views that are being opened', async () => {
    await using harness = Harness.dram(100)
    const { viewer, views } = copyingViewer(harness, new Map([['a', 1]]))
    const first = views(Array.from({ length: 600 }, () => 'a'))
    const second = views(Array.from({ length: 600 }, () => 'a')).catch((error: MooncakeError) => error.code)
    expect(await second).to.equal('ERR_OVERLOADED')
    const misses = await views(Array.from({ length: 400 }, () => 'none'))
    await first
    expect(misses.every(view => view == null)).to.equal(true)
    expect(await views(Array.from({ length: 400 }, () => 'a'))).to.have.length(400)
    viewer.close()
  })
})
