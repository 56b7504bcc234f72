import { expect } from 'chai'
import fc from 'fast-check'
import { BlockContent } from '../dist/replay/blocks.js'

const BLOCK_BYTES = 4096
const content = new BlockContent(BLOCK_BYTES)
const id = fc.nat({ max: Number.MAX_SAFE_INTEGER })

function blockOf(of: number): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES)
  content.fill(of, bytes)
  return bytes
}

describe('BlockContent', () => {
  it('knows its blocks again, also in another process', () => {
    fc.assert(
      fc.property(id, block => {
        expect(new BlockContent(BLOCK_BYTES).matches(block, blockOf(block))).to.equal(true)
      }),
      { numRuns: 3 },
    )
    fc.assert(
      fc.property(id, block => {
        expect(content.matches(block, blockOf(block))).to.equal(true)
      }),
    )
  })

  it('notices any byte that is not its own', () => {
    fc.assert(
      fc.property(
        id,
        fc.nat({ max: BLOCK_BYTES - 1 }),
        fc.integer({ min: 1, max: 255 }),
        (block, at, flip) => {
          const bytes = blockOf(block)
          bytes[at]! ^= flip
          expect(content.matches(block, bytes)).to.equal(false)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('notices parts of another block, and another length', () => {
    fc.assert(
      fc.property(id, id, fc.nat({ max: BLOCK_BYTES - 64 }), (one, other, at) => {
        fc.pre(one !== other && !blockOf(one).subarray(16).equals(blockOf(other).subarray(16)))
        const mixed = blockOf(one)
        blockOf(other).copy(mixed, at, at, at + 64)
        expect(content.matches(one, mixed)).to.equal(mixed.equals(blockOf(one)))
        expect(content.matches(one, blockOf(other))).to.equal(false)
      }),
    )
    expect(content.matches(1, blockOf(1).subarray(1))).to.equal(false)
    expect(content.matches(1, Buffer.alloc(BLOCK_BYTES))).to.equal(false)
  })

  it('makes different blocks different', () => {
    const blocks = Array.from({ length: 2000 }, (_, index) => blockOf(index).toString('latin1'))
    expect(new Set(blocks).size).to.equal(blocks.length)
  })
})
