import { expect } from 'chai'
import { kib, type CopyPool, type Slice } from '@mooncake-ts/core'
import { createCopyPool, createRegion } from '@mooncake-ts/memory'
import { Checksums } from '../dist/checksums.js'

describe('checksums', () => {
  /** Asks for so many in one turn. Gives how many were summed at once, and how many by threads. */
  async function ask(count: number, byteLength: number) {
    const region = createRegion({ byteLength })
    await using real = createCopyPool()
    const [expected] = real.checksumNow([{ region, offset: 0, byteLength }])
    let now = 0
    let threads = 0
    const pool: Pick<CopyPool, 'checksum' | 'checksumNow'> = {
      checksum: slices => {
        threads += slices.length
        return real.checksum(slices)
      },
      checksumNow: slices => {
        now += slices.length
        return real.checksumNow(slices)
      },
    }
    const checksums = new Checksums(pool as CopyPool)
    const slice: Slice = { region, offset: 0, byteLength }
    const asked = Array.from(
      { length: count },
      () =>
        new Promise(resolve => {
          checksums.of(slice, resolve)
        }),
    )
    for (const checksum of await Promise.all(asked)) expect(checksum).to.equal(expected)
    region.close()
    return { now, threads }
  }

  it('of little are made at once, of much by threads, whether in one piece or in many', async () => {
    expect(await ask(4, kib(256))).to.deep.equal({ now: 4, threads: 0 })
    expect(await ask(1, kib(257))).to.deep.equal({ now: 0, threads: 1 })
    expect(await ask(5, kib(256))).to.deep.equal({ now: 0, threads: 5 })
  })
})
