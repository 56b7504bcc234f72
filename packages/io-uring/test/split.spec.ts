import { expect } from 'chai'
import fc from 'fast-check'
import { connectedPair, forEachPlace, pattern, result, sameBytes } from './support.js'

const SLOT_BYTES = 200_000

/** Pieces of one slot, in any order, with empty ones, not overlapping. */
const pieces = fc
  .uniqueArray(fc.integer({ min: 0, max: SLOT_BYTES }), { minLength: 2, maxLength: 40 })
  .chain(cuts => {
    const sorted = [...cuts].sort((a, b) => a - b)
    const all = sorted.slice(1).map((end, i) => [sorted[i] as number, end - (sorted[i] as number)] as const)
    return fc.shuffledSubarray(all, { minLength: 1 })
  })

/**
 * Cuts `total` bytes of a slot into pieces of the lengths' proportions; the layout is another one than the
 * sender's.
 */
function layout(total: number, weights: readonly number[]): [offset: number, length: number][] {
  const sum = weights.reduce((a, b) => a + b, 0)
  const result: [number, number][] = []
  let offset = 0
  for (const [i, weight] of weights.entries()) {
    const length =
      i === weights.length - 1 ? total - offset : Math.min(total - offset, Math.floor((total * weight) / sum))
    result.push([offset, length])
    offset += length
  }
  return result
}

forEachPlace('any split of a transfer', bench => {
  it('arrives as if it were one piece', async () => {
    const [client, server] = await connectedPair(bench)
    const source = pattern(SLOT_BYTES)
    const target = new Uint8Array(SLOT_BYTES)
    const from = bench.engine.attach(source)
    const to = bench.engine.attach(target)
    const weights = fc
      .array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 30 })
      .map(w => [...w, 1])
    await fc.assert(
      fc.asyncProperty(pieces, weights, async (sent, received) => {
        const model = Buffer.concat(sent.map(([offset, length]) => source.subarray(offset, offset + length)))
        target.fill(0)
        const into = layout(model.length, received).flatMap(([offset, length]) => [to, offset, length])
        const outcomes = await Promise.all([
          result(bench.ring, done => bench.ring.recv(server, into, done, { waitAll: true })),
          result(bench.ring, done =>
            bench.ring.send(
              client,
              sent.flatMap(piece => [from, ...piece]),
              done,
            ),
          ),
        ])
        expect(outcomes).to.deep.equal([model.length, model.length])
        expect(sameBytes(target.subarray(0, model.length), model)).to.equal(true)
        expect(target.subarray(model.length).every(byte => byte === 0)).to.equal(true)
      }),
      { numRuns: 60 },
    )
  })
})
