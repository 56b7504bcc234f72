import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { createRegion } from '@mooncake-ts/memory'
import { until } from '@mooncake-ts/testkit'
import { OpenViews } from '../../dist/engine/open-view.js'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const noted = { released: 0 }
/** Knows nothing of the bytes. */
const release = (): void => void noted.released++

describe('OpenViews', () => {
  it('keep what is shown for who keeps the bytes alone', async () => {
    noted.released = 0
    const region = createRegion({ byteLength: 4096 })
    try {
      const views = new OpenViews()
      const held: { bytes?: Uint8Array } = {}
      const open = (): void => {
        const bytes = region.view(0, 4096)
        held.bytes = views
          .open({ key: 'k', bytes, source: 'shared', isValid: () => true, release })
          .bytes.subarray(1)
      }
      open()
      for (let turns = 0; turns < 5; turns++) {
        await nextTurn()
        gc()
      }
      expect([noted.released, held.bytes!.byteLength]).to.deep.equal([0, 4095])
      delete held.bytes
      await until(() => {
        gc()
        return noted.released === 1
      })
      expect(views.size).to.equal(0)
    } finally {
      region.close()
    }
  })

  it('take the bytes from who keeps them when they close', () => {
    const region = createRegion({ byteLength: 4096 })
    try {
      const views = new OpenViews()
      const bytes = region.view(0, 4096)
      views.open({ key: 'k', bytes, source: 'shared', isValid: () => true, release })
      views.close()
      expect([bytes.byteLength, views.size]).to.deep.equal([0, 0])
    } finally {
      region.close()
    }
  })
})
