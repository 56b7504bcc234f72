import { expect } from 'chai'
import fc from 'fast-check'
import { IoVector } from '../dist/io-vector.js'

/** Moves a vector the way a ring does, `step` bytes at most at a time, and writes down every byte's place. */
function places(vector: IoVector, step: number): string[] {
  const seen: string[] = []
  while (vector.remainingBytes > 0) {
    const triples = vector.next()
    expect(triples.length / 3).to.be.at.most(1024)
    let left = step
    for (let i = 0; i < triples.length && left > 0; i += 3) {
      const [slot, offset, length] = triples.slice(i, i + 3) as [number, number, number]
      const taken = Math.min(left, length)
      for (let k = 0; k < taken; k++) seen.push(`${slot}:${offset + k}`)
      left -= taken
    }
    vector.advance(step - left)
  }
  return seen
}

describe('IoVector', () => {
  it('goes through every byte once and in order, however short the steps', () => {
    const piece = fc.tuple(fc.nat(5), fc.nat(1000), fc.nat(20))
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.integer({ min: 1, max: 50 }), (pieces, step) => {
        const vector = new IoVector()
        for (const [slot, offset, length] of pieces) vector.push(slot, offset, length)
        const expected = pieces.flatMap(([slot, offset, length]) =>
          Array.from({ length }, (_, k) => `${slot}:${offset + k}`),
        )
        expect(vector.remainingBytes).to.equal(expected.length)
        expect(places(vector, step)).to.deep.equal(expected)
      }),
    )
  })

  it('never gives the kernel more pieces than it takes', () => {
    const vector = new IoVector()
    for (let i = 0; i < 3000; i++) vector.push(0, i, 1)
    expect(places(vector, 10_000)).to.have.length(3000)
  })

  it('appends what another has left', () => {
    const first = new IoVector().push(0, 0, 2)
    const second = new IoVector().push(1, 10, 4)
    second.advance(3)
    first.append(second)
    expect(places(first, 1)).to.deep.equal(['0:0', '0:1', '1:13'])
  })
})
