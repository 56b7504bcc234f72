import { expect } from 'chai'
import { kib, type TierAllocation } from '@mooncake-ts/core'
import { failureOf, rejectsWith, until, watch } from '@mooncake-ts/testkit'
import { contentOf } from './crash/content.js'
import type { Operation } from './support/faulty-engine.js'
import { TierBench } from './support/tier-bench.js'

const EIO = -5
const ENOSPC = -28
const isData = ({ file }: Operation): boolean => file.startsWith('data-')
const isIndex = ({ file }: Operation): boolean => file.startsWith('index-')

describe('a disk that fails', () => {
  let bench: TierBench
  beforeEach(() => {
    bench = new TierBench()
  })
  afterEach(() => bench.end())

  for (const [what, fault] of [
    ['cannot be read', { result: EIO }],
    ['is read short', { bytes: 4096 }],
  ] as const) {
    it(`an object that ${what} is bad, and the others of its batch are not`, async () => {
      await bench.start()
      const identities = ['a', 'b', 'c'].map(key => bench.identity(key, kib(700)))
      const allocations: TierAllocation[] = []
      for (const identity of identities) allocations.push(await bench.put(identity))
      bench.engine.fault = operation =>
        isData(operation) && operation.offset === kib(700) ? fault : undefined
      const [a, b, c] = await bench.read(...allocations)
      expect([a!.bytes, b!.bytes, c!.bytes]).to.deep.equal([kib(700), 0, kib(700)])
      expect(b!.error).to.have.property('code', 'ERR_CHECKSUM_MISMATCH')
      expect(bench.badObjects).to.equal(1)
      expect(bench.lines.filter(line => line.includes('not what was written'))).to.have.lengthOf(1)
      expect(a!.bytesRead.equals(contentOf(identities[0]!))).to.equal(true)
      bench.engine.fault = () => undefined
      expect((await bench.read(allocations[1]!))[0]!.bytesRead.equals(contentOf(identities[1]!))).to.equal(
        true,
      )
    })
  }

  it('reads neighbours of a bad object by themselves', async () => {
    await bench.start()
    const identities = Array.from({ length: 10 }, (_, i) => bench.identity(`key ${i}`, 3000))
    const allocations: TierAllocation[] = []
    for (const identity of identities) allocations.push(await bench.put(identity))
    const badAt = 4 * 4096
    bench.engine.fault = operation => {
      const { offset, byteLength } = operation
      return isData(operation) && offset <= badAt && badAt < offset + byteLength ? { result: EIO } : undefined
    }
    bench.engine.operations.length = 0
    const completions = await bench.read(...allocations)
    expect(completions.map(({ error }) => error == null)).to.deep.equal(identities.map((_, i) => i !== 4))
    expect(bench.badObjects).to.equal(1)
    expect(bench.engine.operations, 'all at once, then each').to.have.lengthOf(11)
  })

  it('refuses a read for the moment, without calling the object bad', async () => {
    await bench.start()
    const allocation = await bench.put(bench.identity('a', 5000))
    bench.engine.fault = () => ({ result: -12 })
    expect((await bench.read(allocation))[0]!.error).to.have.property('code', 'ERR_IO')
    expect(bench.badObjects).to.equal(0)
  })

  for (const [what, fault, code] of [
    ['EIO', { result: EIO }, 'ERR_IO'],
    ['a full disk', { result: ENOSPC }, 'ERR_NO_SPACE'],
    ['a short write', { bytes: 4096 }, 'ERR_IO'],
  ] as const) {
    it(`a write that meets ${what} is no object`, async () => {
      await bench.start()
      const identity = bench.identity('a', 10_000)
      const allocation = bench.tier.allocate(10_000)!
      bench.engine.fault = operation => (isData(operation) ? fault : undefined)
      expect((await bench.write(allocation, identity)).error).to.have.property('code', code)
      await rejectsWith(bench.tier.commit!(allocation, identity), 'ERR_INVALID_PARAMS')
      expect((await bench.read(allocation))[0]!.error).to.have.property('code', 'ERR_INVALID_PARAMS')
      bench.engine.fault = () => undefined
      expect((await bench.write(allocation, identity)).error).to.equal(undefined)
      await bench.tier.commit!(allocation, identity)
      expect((await bench.read(allocation))[0]!.bytesRead.equals(contentOf(identity))).to.equal(true)
    })

    it(`a commit that meets ${what} in the index fails, and the next one does not`, async () => {
      await bench.start()
      await bench.put(bench.identity('before', 100))
      bench.engine.fault = operation => {
        if (!isIndex(operation)) return undefined
        return 'bytes' in fault ? { bytes: operation.byteLength - 1 } : fault
      }
      const failed = bench.identity('failed', 5000)
      const error = await failureOf(bench.put(failed))
      expect(error).to.have.property('code', code)
      bench.engine.fault = () => undefined
      await bench.put(bench.identity('later', 100))
      await bench.stop()
      await bench.start()
      expect(await bench.recoveredKeys()).to.deep.equal(['before', 'later'])
    })
  }

  it('a commit that cannot be made durable fails under ack-on-fsync, and can be taken back', async () => {
    for (const isMeant of [isData, isIndex]) {
      await bench.start({ durability: 'ack-on-fsync' })
      const identity = bench.identity('a', 5000)
      const allocation = bench.tier.allocate(5000)!
      await bench.write(allocation, identity)
      bench.engine.fault = operation =>
        isMeant(operation) && operation.kind === 'fsync' ? { result: EIO } : undefined
      await rejectsWith(bench.tier.commit!(allocation, identity), 'ERR_IO')
      bench.engine.fault = () => undefined
      await bench.tier.free(allocation)
      await bench.stop()
      await bench.start()
      expect(await bench.recoveredKeys()).to.deep.equal([])
      await bench.stop()
    }
  })

  it('keeps the space of an object whose removal cannot be written, and tries again', async () => {
    await bench.start()
    const allocation = await bench.put(bench.identity('a', 5000))
    let tries = 0
    bench.engine.fault = operation => {
      if (!isIndex(operation)) return undefined
      tries++
      return { result: ENOSPC }
    }
    let settled = false
    const freeing = Promise.resolve(bench.tier.free(allocation)).then(() => (settled = true))
    for (const expected of [1, 2, 3]) {
      await until(() => tries === expected && bench.clock.pending > 0)
      expect(settled).to.equal(false)
      expect(bench.tier.usedBytes).to.equal(kib(8))
      await bench.clock.advance(1000)
    }
    bench.engine.fault = () => undefined
    await until(async () => {
      await bench.clock.advance(1000)
      return settled
    })
    await freeing
    expect(bench.tier.usedBytes).to.equal(0)
    expect(bench.lines.filter(line => line.includes('removal cannot be written'))).to.have.lengthOf(1)
  })

  it('has the space again only when the removal is durable', async () => {
    await bench.start()
    const allocation = await bench.put(bench.identity('a', 5000))
    let sync = (): void => {}
    const synced = new Promise<void>(resolve => (sync = resolve))
    bench.engine.fault = ({ kind }) => (kind === 'fsync' ? { after: synced } : undefined)
    const freeing = bench.tier.free(allocation)
    await until(() => bench.engine.operations.at(-1)!.kind === 'fsync')
    expect(bench.tier.usedBytes).to.equal(kib(8))
    sync()
    await freeing
    expect(bench.tier.usedBytes).to.equal(0)
  })

  it('does not start on an index that cannot be read, and loses nothing by it', async () => {
    await bench.start()
    await bench.put(bench.identity('a', 5000))
    await bench.stop()
    const error = (await failureOf(
      bench.start({}, engine => {
        engine.fault = operation =>
          isIndex(operation) && operation.kind === 'read' ? { result: EIO } : undefined
      }),
    )) as Error
    expect(error).to.have.property('code', 'ERR_PLUGIN_START')
    expect(error.cause).to.have.property('code', 'ERR_IO')
    await bench.start()
    expect(await bench.recoveredKeys()).to.deep.equal(['a'])
  })

  it('does not start where the space cannot be set aside', async () => {
    const error = (await failureOf(
      bench.start({}, engine => {
        engine.fault = ({ kind }) => (kind === 'allocate' ? { result: ENOSPC } : undefined)
      }),
    )) as Error
    expect(error.cause).to.have.property('code', 'ERR_NO_SPACE')
  })

  it('says once that the file system cannot set space aside, and works', async () => {
    await bench.start({ fileBytes: kib(1024) }, engine => {
      engine.fault = ({ kind }) => (kind === 'allocate' ? { result: -95 } : undefined)
    })
    expect(bench.lines.filter(line => line.includes('set space aside'))).to.have.lengthOf(1)
    const identity = bench.identity('a', 5000)
    expect((await bench.read(await bench.put(identity)))[0]!.bytesRead.equals(contentOf(identity))).to.equal(
      true,
    )
  })
})

describe('a disk that is slow', () => {
  let bench: TierBench
  beforeEach(() => {
    bench = new TierBench()
  })
  afterEach(() => bench.end())

  it('has no more operations than the queue is deep, whoever asks for how many', async () => {
    await bench.start({ queueDepth: 8 })
    const allocations: TierAllocation[] = []
    for (let i = 0; i < 20; i++) allocations.push(await bench.put(bench.identity(`key ${i}`, 3000)))
    bench.engine.inFlightMax = 0
    let go = (): void => {}
    const slow = new Promise<void>(resolve => (go = resolve))
    bench.engine.fault = operation => (isData(operation) ? { after: slow } : undefined)
    // Every other one: neighbours would go together.
    const reading = Promise.all(
      allocations.map((allocation, i) => bench.read(allocation, allocations[(i + 2) % 20]!)),
    )
    await until(() => bench.engine.inFlight === 8)
    go()
    for (const completions of await reading)
      expect(completions.every(({ error }) => error == null)).to.equal(true)
    expect(bench.engine.inFlightMax).to.equal(8)
  })

  it('ends an aborted batch, and a stop, when the disk has let go of the memory', async () => {
    await bench.start({ queueDepth: 2 })
    const allocations: TierAllocation[] = []
    for (let i = 0; i < 10; i++) allocations.push(await bench.put(bench.identity(`key ${i}`, kib(600))))
    let go = (): void => {}
    const slow = new Promise<void>(resolve => (go = resolve))
    bench.engine.fault = operation => (isData(operation) ? { after: slow } : undefined)
    const controller = new AbortController()
    const batch = allocations.map(allocation => {
      const region = bench.region(kib(600))
      return { allocation, offset: 0, into: { region, offset: 0, byteLength: kib(600) } }
    })
    const aborted = watch(bench.tier.read(batch, { signal: controller.signal }))
    const stopped = watch(bench.tier.read(batch, { signal: new AbortController().signal }))
    controller.abort(new Error('not wanted'))
    let hasStopped = false
    const stopping = bench.stop().then(() => (hasStopped = true))
    await until(() => stopped.completions.length === 10)
    expect(
      stopped.completions.every(({ error }) => (error as { code?: string }).code === 'ERR_SHUTTING_DOWN'),
    ).to.equal(true)
    expect([aborted.hasEnded, hasStopped]).to.deep.equal([false, false])
    go()
    await stopping
    const { failed, completions } = await aborted.ended
    expect(failed).to.equal(true)
    expect(completions.length).to.be.at.most(2)
  })
})
