import { expect } from 'chai'
import fc from 'fast-check'
import { systemClock, type CopyPool, type RpcCallOptions } from '@mooncake-ts/core'
import { createCopyPool, createRegion, sliceOf, wrapBuffer } from '@mooncake-ts/memory'
import { rejectsWith } from '@mooncake-ts/testkit'
import { PeerReads } from '../../dist/engine/peer-reads.js'
import type { PeerClient } from '../../dist/peers/peer-client.js'
import type { ReadInline } from '../../dist/peers/protocol.js'
import { SliceCursor } from '../../dist/transfer/slice-cursor.js'
import type { TransferSubmitter } from '../../dist/transfer/submitter.js'

type Answer = ReturnType<typeof ReadInline.parseResponse>

describe('what comes inside of an RPC', () => {
  let copyPool: CopyPool
  before(() => {
    copyPool = createCopyPool({ threads: 1 })
  })
  after(() => copyPool.close())

  it('lands in its slices, wherever the stream was cut', () => {
    const region = createRegion({ byteLength: 1000 })
    fc.assert(
      fc.property(
        fc.array(fc.nat(40), { maxLength: 20 }),
        fc.array(fc.nat(60), { maxLength: 20 }),
        (lengths, cuts) => {
          const whole = region.view(0, 1000).fill(0)
          const slices: ReturnType<typeof sliceOf>[] = []
          const expected = Buffer.alloc(1000)
          const stream: number[] = []
          let at = 0
          for (const length of lengths) {
            slices.push(sliceOf(region, at, length))
            for (let i = 0; i < length; i++) {
              stream.push((expected[at + i] = 1 + ((at + i) % 255)))
            }
            at += length + 3
          }
          const cursor = new SliceCursor(slices, copyPool)
          let from = 0
          for (const cut of [...cuts, stream.length]) {
            const end = Math.min(stream.length, from + cut)
            cursor.write(Uint8Array.from(stream.slice(from, end)))
            from = end
          }
          expect(Buffer.compare(whole, expected)).to.equal(0)
          expect(() => {
            cursor.write(new Uint8Array(1))
          }).to.throw()
        },
      ),
    )
    region.close()
  })

  describe('from a peer that lies', () => {
    const honest: Answer = { byteLengths: [10, 20], failed: [], codes: [], postponed: [] }

    /** Reads two keys of at most 20 bytes from a peer that answers so, with so many bytes. */
    async function read(answer: Answer, attachedBytes: number) {
      const into = Buffer.alloc(40)
      const region = wrapBuffer(into)
      const peer = {
        readInline: async (_request: unknown, { sink }: RpcCallOptions<Answer>) => {
          if (attachedBytes > 0) sink!(answer, attachedBytes)(Buffer.alloc(attachedBytes, 1))
          return await Promise.resolve(answer)
        },
      } as unknown as PeerClient
      const reads = new PeerReads({
        transports: [],
        submitter: undefined as unknown as TransferSubmitter,
        clock: systemClock,
        copyPool,
        direction: 'reverse',
        inlineBytesMax: 100,
      })
      const tasks = [0, 1].map(i => ({ key: `k${i}`, target: sliceOf(region, 20 * i, 20) }))
      const options = { signal: new AbortController().signal, deadlineMs: 1000 }
      const outcomes = await reads.read(peer, tasks, 30, options)
      return { outcomes, into }
    }

    it('is believed when it does not', async () => {
      const { outcomes, into } = await read(honest, 30)
      expect(outcomes).to.deep.equal([{ byteLength: 10 }, { byteLength: 20 }])
      expect([...into].map((byte, i) => (byte === 1 ? i : -1)).filter(i => i >= 0)).to.deep.equal([
        ...Array.from({ length: 10 }, (_, i) => i),
        ...Array.from({ length: 20 }, (_, i) => 20 + i),
      ])
    })

    for (const [what, answer, bytes] of [
      ['attaches less than it says', honest, 29],
      ['attaches more than it says', honest, 31],
      ['attaches nothing', honest, 0],
      ['sends more than fits', { ...honest, byteLengths: [21, 9] }, 30],
      ['answers for fewer keys', { ...honest, byteLengths: [30] }, 30],
      ['answers for more keys', { ...honest, byteLengths: [10, 10, 10] }, 30],
      ['fails a key that nobody asked for', { ...honest, failed: [2], codes: ['ERR_IO'] }, 30],
      ['postpones a key that nobody asked for', { ...honest, postponed: [7] }, 30],
      ['fails without a code', { ...honest, failed: [0] }, 20],
    ] as const) {
      it(`is refused when it ${what}`, async () => {
        await rejectsWith(read(answer as Answer, bytes), 'ERR_PROTOCOL')
      })
    }
  })
})
