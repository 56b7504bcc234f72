import { expect } from 'chai'
import fc from 'fast-check'
import { GenerationClock, MooncakeError, silentLogger, systemClock } from '@mooncake-ts/core'
import type { CopyPool, Directory, IncomingAttachment, RpcCallOptions, Slice } from '@mooncake-ts/core'
import { createCopyPool, createRegion, sliceOf, wrapBuffer } from '@mooncake-ts/memory'
import { rejectsWith, until } from '@mooncake-ts/testkit'
import { PeerReads } from '../../dist/engine/peer-reads.js'
import { KeyLocks } from '../../dist/local/key-locks.js'
import { Neighbours } from '../../dist/near/neighbours.js'
import { Committer } from '../../dist/peers/committer.js'
import { InlineWriter } from '../../dist/peers/inline-writer.js'
import type { PeerClient } from '../../dist/peers/peer-client.js'
import { InlineReader } from '../../dist/peers/inline-reader.js'
import { INLINE_ALONE_BYTES_MAX, INLINE_BYTES_MAX, type ReadInline } from '../../dist/peers/protocol.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { WritesInFlight } from '../../dist/peers/writes-in-flight.js'
import { RouteNotifier } from '../../dist/routes/route-notifier.js'
import { SliceCursor, type Gap } from '../../dist/transfer/slice-cursor.js'
import type { TransferSubmitter } from '../../dist/transfer/submitter.js'
import { Harness, metaOf } from '../local/support/harness.js'

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
          const slices: Array<Slice | Gap> = []
          const expected = Buffer.alloc(1000)
          const stream: number[] = []
          let at = 0
          for (const length of lengths) {
            const wanted = length % 3 > 0
            slices.push(wanted ? sliceOf(region, at, length) : { byteLength: length })
            for (let i = 0; i < length; i++) {
              const byte = 1 + ((at + i) % 255)
              stream.push(byte)
              if (wanted) expected[at + i] = byte
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

  it('is up to a megabyte for who reads nothing else, and also while others read what it was', async () => {
    const region = createRegion({ byteLength: 2 ** 21 })
    const went: string[] = []
    const waiting: Array<() => void> = []
    const turn = (way: string) =>
      new Promise<void>(resolve => {
        went.push(way)
        waiting.push(resolve)
      })
    const peer = {
      readInline: async () => {
        await turn('inside')
        return { byteLengths: [0], failed: [], codes: [], postponed: [] }
      },
      pinKeys: async () => {
        await turn('by transport')
        return [{ code: 'ERR_OBJECT_NOT_FOUND', byteLength: 0 }]
      },
    } as unknown as PeerClient
    const reads = new PeerReads({
      transports: [],
      submitter: { submit: () => Promise.resolve() } as unknown as TransferSubmitter,
      neighbours: new Neighbours(systemClock, []),
      clock: systemClock,
      copyPool,
      direction: 'forward',
      inlineBytesMax: INLINE_BYTES_MAX,
    })
    const options = { signal: new AbortController().signal, deadlineMs: 1000 }
    const begin = async (bytes: number) => {
      const tasks = [{ key: 'k', target: sliceOf(region, 0, bytes) }]
      const read = reads.read(peer, tasks, bytes, options)
      await until(() => waiting.length > 0)
      return { read, end: waiting.pop()! }
    }
    const first = await begin(INLINE_ALONE_BYTES_MAX)
    const second = await begin(INLINE_BYTES_MAX + 1)
    const small = await begin(INLINE_BYTES_MAX)
    for (const { read, end } of [first, second, small]) {
      end()
      await read
    }
    const alone = await begin(INLINE_ALONE_BYTES_MAX + 1)
    alone.end()
    await alone.read
    expect(went).to.deep.equal(['inside', 'by transport', 'inside', 'by transport'])
    region.close()
  })

  it('is attached up to a megabyte, and postponed beyond', async () => {
    await using harness = Harness.dram(2 ** 21)
    for (const [key, byteLength] of [
      ['most', INLINE_ALONE_BYTES_MAX],
      ['more', 1],
    ] as const)
      await harness.backend.commit(harness.space(byteLength), metaOf(key, byteLength), 'put')
    const reader = new InlineReader(harness.backend, copyPool)
    let attachedBytes = 0
    const capacities = [INLINE_ALONE_BYTES_MAX, 1]
    const answer = reader.serve({ keys: ['most', 'more'], capacities }, bytes => {
      attachedBytes = bytes.byteLength
    })
    expect([attachedBytes, answer.postponed]).to.deep.equal([INLINE_ALONE_BYTES_MAX, [1]])
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
        neighbours: new Neighbours(systemClock, []),
        clock: systemClock,
        copyPool,
        direction: 'reverse',
        inlineBytesMax: 100,
      })
      const tasks = [0, 1].map(i => ({ key: `k${i}`, target: sliceOf(region, 20 * i, 20) }))
      const options = { signal: new AbortController().signal, deadlineMs: 1000 }
      const { outcomes, error } = await reads.read(peer, tasks, 30, options)
      if (error != null) throw error
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

describe('an owner that gets objects inside of an RPC', () => {
  function ownerOf({ backend, memory, clock }: Harness, said = 'ok') {
    const directory = { syncReplicas: (adds: readonly unknown[]) => Promise.resolve(adds.map(() => said)) }
    const notifier = new RouteNotifier(directory as unknown as Directory, clock, silentLogger)
    const unannounced = new Unannounced()
    const generations = new GenerationClock(clock)
    const locks = new KeyLocks()
    const parts = { backend, notifier, unannounced, locks, generations, nodeName: 'n', onKnown: () => {} }
    const committer = new Committer(parts)
    const writes = new WritesInFlight()
    const copyPool = memory.copyPool
    const init = { backend, copyPool, committer, writes, unannounced, nodeId: 'me' }
    return { writer: new InlineWriter(init), committer }
  }

  const writerOf = (harness: Harness): InlineWriter => ownerOf(harness).writer

  const requestOf = (keys: string[], byteLengths: number[], upsert = false) => ({
    keys,
    byteLengths,
    generations: keys.map((_, i) => 100 + i),
    upsert,
    softPin: false,
    hardPin: false,
  })

  /** What comes, in pieces; breaks off after `breakAt` bytes. */
  function attached(bytes: Buffer, breakAt = Infinity): IncomingAttachment {
    return {
      byteLength: bytes.length,
      receive: async sink => {
        for (let at = 0; at < bytes.length; at += 7) {
          if (at >= breakAt) throw new MooncakeError('ERR_RPC_FAIL', 'broken off')
          sink(bytes.subarray(at, at + 7))
          await Promise.resolve()
        }
      },
    }
  }

  it('keeps what there is room for, and leaves what exists as it is', async () => {
    await using harness = Harness.dram(256)
    await harness.put('old', 20, { content: 9, hardPin: true })
    const bytes = Buffer.concat([
      Buffer.alloc(30, 1),
      Buffer.alloc(20, 2),
      Buffer.alloc(400, 3),
      Buffer.alloc(5, 4),
    ])
    const request = requestOf(['a', 'old', 'large', 'b'], [30, 20, 400, 5])
    const answer = await writerOf(harness).serve(request, { attachment: attached(bytes) })
    expect(answer).to.deep.include({ existed: [1], failed: [2], codes: ['ERR_NO_AVAILABLE_HANDLE'] })
    expect(await harness.get('a')).to.deep.equal(new Uint8Array(30).fill(1))
    expect(await harness.get('old')).to.deep.equal(new Uint8Array(20).fill(9))
    expect(await harness.get('b')).to.deep.equal(new Uint8Array(5).fill(4))
  })

  it('keeps nothing of what breaks off, and gives the space back', async () => {
    await using harness = Harness.dram(256)
    const writer = writerOf(harness)
    const whole = Buffer.alloc(200, 1)
    const request = requestOf(['a', 'b'], [100, 100])
    await rejectsWith(writer.serve(request, { attachment: attached(whole, 150) }), 'ERR_RPC_FAIL')
    expect(harness.backend.has('a') || harness.backend.has('b')).to.equal(false)
    await writer.serve(request, { attachment: attached(whole) })
    expect(await harness.get('b')).to.deep.equal(new Uint8Array(100).fill(1))
  })

  it('lets a second put of a key wait for the first, and take over where that breaks off', async () => {
    await using harness = Harness.dram(256)
    const writer = writerOf(harness)
    const serve = (content: number, breakAt?: number) =>
      writer.serve(requestOf(['k'], [100]), { attachment: attached(Buffer.alloc(100, content), breakAt) })
    const [first, second] = await Promise.all([serve(1), serve(2)])
    expect(first.existed).to.deep.equal([])
    expect(second.existed).to.deep.equal([0])
    expect(await harness.get('k')).to.deep.equal(new Uint8Array(100).fill(1))
    harness.backend.remove('k')
    const [broken, waiting] = await Promise.allSettled([serve(1, 50), serve(2)])
    expect(broken.status).to.equal('rejected')
    expect(waiting).to.have.nested.property('value.codes').that.deep.equals(['ERR_REPLICA_IS_PROCESSING'])
  })

  it('refuses leased numbers of another life, and those below what has left it', async () => {
    await using harness = Harness.dram(256)
    const { writer, committer } = ownerOf(harness)
    const serve = (key: string, leasedFor: string) =>
      writer.serve({ ...requestOf([key], [10]), leasedFor }, { attachment: attached(Buffer.alloc(10, 1)) })
    await rejectsWith(serve('a', 'a former me'), 'ERR_LEASE_EXPIRED')
    expect(await serve('a', 'me')).to.deep.include({ existed: [], failed: [] })
    committer.gone(100)
    expect((await serve('b', 'me')).codes).to.deep.equal(['ERR_LEASE_EXPIRED'])
    expect(harness.backend.has('b')).to.equal(false)
    expect((await serve('a', 'me')).existed, 'known without a number').to.deep.equal([0])
  })

  it('says of a leased put that the directory refused only that a route must be asked for', async () => {
    await using harness = Harness.dram(256)
    const { writer } = ownerOf(harness, 'stale')
    const request = { ...requestOf(['a'], [10]), leasedFor: 'me' }
    const answer = await writer.serve(request, { attachment: attached(Buffer.alloc(10, 1)) })
    expect(answer).to.deep.include({ existed: [], codes: ['ERR_LEASE_EXPIRED'] })
    expect(harness.backend.has('a')).to.equal(false)
  })

  for (const [what, request, bytes] of [
    ['fewer lengths than keys', requestOf(['a', 'b'], [10]), 10],
    ['lengths that are not what is attached', requestOf(['a'], [10]), 11],
    ['nothing attached', requestOf(['a'], [10]), 0],
    ['more checksums than keys', { ...requestOf(['a'], [10]), checksums: [1, 2] as number[] }, 10],
  ] as const) {
    it(`refuses ${what}`, async () => {
      await using harness = Harness.dram(256)
      const attachment = bytes === 0 ? undefined : attached(Buffer.alloc(bytes))
      await rejectsWith(writerOf(harness).serve(request, { attachment }), 'ERR_INVALID_PARAMS')
      expect(harness.backend.has('a')).to.equal(false)
    })
  }
})
