import { expect } from 'chai'
import { LocalReads } from '../../dist/engine/local-reads.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Harness, NEVER } from '../local/support/harness.js'

describe('LocalReads', () => {
  it('fails of a batch only what cannot be copied', async () => {
    await using harness = Harness.dram(100)
    const keys = ['a', 'closed', 'b']
    for (const [i, key] of keys.entries()) await harness.put(key, 10, { content: i + 1 })
    const tasks = keys.map(key => ({ key, target: harness.bytes(10, 0) }))
    tasks[1]!.target.region.close()
    const reads = new LocalReads(harness.backend, new Unannounced(), harness.memory)
    const outcomes = await reads.read(tasks, NEVER)
    const codes = outcomes.map(outcome => (outcome!.error as { code?: string } | undefined)?.code)
    expect(codes).to.deep.equal([undefined, 'ERR_REGION_CLOSED', undefined])
    for (const [i, content] of [
      [0, 1],
      [2, 3],
    ] as const)
      expect(tasks[i]!.target.region.view(0, 10)).to.deep.equal(new Uint8Array(10).fill(content))
  })
})
