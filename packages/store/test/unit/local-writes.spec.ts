import { expect } from 'chai'
import { LocalWrites } from '../../dist/engine/local-writes.js'
import type { StagingPool } from '../../dist/local/staging-pool.js'
import type { Commit, Committer } from '../../dist/peers/committer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Harness, NEVER } from '../local/support/harness.js'

describe('LocalWrites', () => {
  it('fails of a batch only what cannot be copied', async () => {
    await using harness = Harness.dram(100)
    const { backend, memory } = harness
    const committer = {
      commitMany: (commits: readonly Commit[]) =>
        Promise.resolve(
          commits.map(({ reservation, meta }) => {
            backend.commitNow(reservation, meta, 'put')
            return { existed: false }
          }),
        ),
    } as unknown as Committer
    const staging = undefined as unknown as StagingPool
    const writes = new LocalWrites({ backend, memory, staging, committer, unannounced: new Unannounced() })
    const tasks = ['a', 'closed', 'b'].map((key, i) => ({
      key,
      byteLength: 10,
      generation: 1,
      checksum: undefined,
      place: undefined,
      parts: [harness.bytes(10, i + 1)],
    }))
    tasks[1]!.parts[0]!.region.close()
    const terms = { upsert: false, softPin: false, hardPin: false, waitMs: 0 }
    const outcomes = await writes.write(tasks, terms, NEVER)
    const codes = outcomes.map(({ error }) => (error as { code?: string } | undefined)?.code)
    expect(codes).to.deep.equal([undefined, 'ERR_REGION_CLOSED', undefined])
    expect(await harness.get('a')).to.deep.equal(new Uint8Array(10).fill(1))
    expect(await harness.get('b')).to.deep.equal(new Uint8Array(10).fill(3))
    harness.space(80).abandon() // There is room again.
  })
})
