import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { EVICTION_POLICIES, hitDensity, lru, s3Fifo } from '@mooncake-ts/store'
import { rejectsWith } from '@mooncake-ts/testkit'
import { runSimulate } from '../dist/commands/simulate.js'
import { readTrace } from '../dist/replay/workload.js'
import { beladyLeadingHits } from '../dist/simulate/belady.js'
import { hitRatio, leadingHits, type BlockIds } from '../dist/simulate/simulate.js'
import { partitionedS3Fifo } from './support/partitioned-s3-fifo.js'
import { conversationTrace } from './support/traces.js'

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

describe('the simulator', () => {
  it('counts leading hits only', () => {
    const hits = leadingHits(
      [
        [1, 2, 3],
        [1, 2, 4],
        [9, 1],
        [1, 3],
      ],
      lru(),
      100,
    )
    expect(hits).to.deep.equal([0, 2, 0, 2])
  })

  it('keeps no more blocks than the tier has room for, also within one request', () => {
    for (const create of Object.values(EVICTION_POLICIES)) {
      const hits = leadingHits(
        [
          [1, 2, 3, 4],
          [1, 2, 3, 4],
          [5, 5, 5],
        ],
        create(),
        2,
      )
      expect(sum(hits), create().name).to.be.at.most(2)
    }
  })

  it('finds no policy above the optimum', () => {
    // Every request is a prefix of one of a few chains, so that a leading hit is a hit.
    const request = fc.record({ chain: fc.nat(5), length: fc.integer({ min: 1, max: 6 }) })
    const prefix = ({ chain, length }: { chain: number; length: number }): number[] =>
      Array.from({ length }, (_, depth) => 10 * chain + depth)
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (list, capacity) => {
        const requests = list.map(prefix)
        const optimum = sum(beladyLeadingHits(requests, capacity))
        for (const create of Object.values(EVICTION_POLICIES))
          expect(sum(leadingHits(requests, create(), capacity))).to.be.at.most(optimum)
      }),
    )
  })
})

describe('mooncake simulate', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mooncake-simulate-'))
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  it('writes the figures to a file', async () => {
    const [trace, json] = [join(folder, 'trace.jsonl'), join(folder, 'figures.json')]
    const lines = [
      [0, 1],
      [0, 2],
      [0, 1],
    ].map(ids => JSON.stringify({ input_length: 1024, hash_ids: ids }))
    writeFileSync(trace, lines.join('\n'))
    const argv = ['--trace', trace, '--policy', 's3-fifo', '--capacity', '2,10', '--json', json]
    expect(await runSimulate(argv)).to.equal(0)
    const figures = JSON.parse(readFileSync(json, 'utf8')) as { ratios: object[] }
    expect(figures).to.include({ policy: 's3-fifo', requests: 3, blocks: 6 })
    expect(figures.ratios[1]).to.deep.equal({ capacityBlocks: 10, policy: 0.5, lru: 0.5, belady: 0.5 })
  })

  it('says what is wrong with its arguments', async () => {
    await rejectsWith(runSimulate([]), 'ERR_CONFIG')
    await rejectsWith(runSimulate(['--trace', 'x', '--capacity', '10,none']), 'ERR_CONFIG')
    await rejectsWith(runSimulate(['--trace', 'x', '--policy', 'magic']), 'ERR_CONFIG')
    await rejectsWith(runSimulate(['--trace', join(folder, 'absent')]), 'ERR_CONFIG')
  })
})

describe('on the conversation trace', function () {
  this.timeout(60_000)
  const path = conversationTrace()
  let requests: BlockIds[]

  before(async function () {
    if (path == null) return this.skip()
    requests = []
    for await (const { blockIds } of readTrace(path)) requests.push(blockIds)
  })

  /** Capacity in blocks; LRU, S3-FIFO and Belady's optimum in percent, as issue 3 gives them. */
  const REFERENCE = [
    [1_000, 4.5, 5.2, 19.1],
    [3_000, 6.5, 8.2, 29.5],
    [10_000, 21.1, 18.1, 36.6],
    [30_000, 32.6, 23.3, 36.6],
    [50_000, 35.5, 26.6, 36.6],
  ] as const

  for (const [capacity, ...reference] of REFERENCE) {
    const wanted = capacity <= 3_000 ? 1.2 : 1
    it(`gives the reference figures, and ${wanted} × LRU or more by default, with ${capacity} blocks`, () => {
      const lruHits = leadingHits(requests, lru(), capacity)
      const references = [
        lruHits,
        partitionedS3Fifo(requests, capacity),
        beladyLeadingHits(requests, capacity),
      ]
      references.forEach((hits, i) => {
        // The optimum at 3,000 is 29.446 %, and was rounded twice.
        expect(100 * hitRatio(requests, hits)).to.be.closeTo(reference[i]!, 0.055)
      })
      const hits = leadingHits(requests, hitDensity(), capacity)
      for (const from of [0, requests.length >> 1])
        expect(hitRatio(requests, hits, from) / hitRatio(requests, lruHits, from)).to.be.at.least(wanted)
    })
  }

  it('S3-FIFO as the store has it, which evicts only when the tier is full, is above its reference', () => {
    expect(100 * hitRatio(requests, leadingHits(requests, s3Fifo(), 10_000))).to.be.within(19, 20)
  })
})
