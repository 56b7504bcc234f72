import { expect } from 'chai'
import { rejectsWith } from '@mooncake-ts/testkit'
import { rdma } from '@mooncake-ts/transport-rdma'
import { DEFAULTS, resolveOptions, type RdmaOptions } from '../dist/options.js'

describe('the options of rdma()', () => {
  it('have defaults, also where undefined is given', () => {
    expect(resolveOptions({})).to.deep.equal(DEFAULTS)
    expect(resolveOptions({ mtu: undefined })).to.deep.equal(DEFAULTS)
  })

  const wrong: RdmaOptions[] = [
    { port: 0 },
    { gidIndex: -1 },
    { mtu: 1500 },
    { queuePairsPerLink: 17 },
    { ackTimeout: 0 },
    { packetRetries: 8 },
    { sliceBytes: 1.5 },
    { deviceNames: ['a', 'a'] },
    { deviceNames: Array.from({ length: 9 }, (_, i) => `mlx5_${i}`) },
    { listen: 'nonsense' },
  ]
  for (const options of wrong) {
    it(`refuse ${JSON.stringify(options)} when the plugin is made`, async () => {
      await rejectsWith(() => rdma(options), 'ERR_INVALID_PARAMS')
    })
  }
})
