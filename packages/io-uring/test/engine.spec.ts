import { expect } from 'chai'
import { createIoEngine, errnoName, type IoEngine } from '@mooncake-ts/io-uring'
import { createRegion, memoryStats } from '@mooncake-ts/memory'
import { collectGarbage, connectedPair, forEachPlace, PLACES, uringRefused, result } from './support.js'

forEachPlace('engine', bench => {
  it('carries 10,000 operations through 64 entries, each ended once', async () => {
    const count = 10_000
    const calls = new Uint8Array(count)
    await new Promise<void>(resolve => {
      let left = count
      for (let i = 0; i < count; i++) {
        bench.ring.nop(outcome => {
          calls[i] = (calls[i] as number) + 1
          if (outcome !== 0) throw new Error(`nop: ${outcome}`)
          if (--left === 0) resolve()
        })
        if (i % 3000 === 0) bench.ring.submit()
      }
    })
    expect(calls.every(n => n === 1)).to.equal(true)
    expect(bench.engine.stats()).to.include({ inFlight: 0, submitted: count, completed: count })
  })

  it('never calls back from within the preparing or submitting call', () => {
    let inside = true
    const ended = new Promise<boolean>(resolve => {
      bench.ring.nop(() => resolve(inside))
      bench.ring.submit()
    })
    inside = false
    return ended.then(was => expect(was).to.equal(false))
  })

  it('goes on when a callback throws, and does not hide the error', async () => {
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const uncaught = new Promise<unknown>(resolve => process.once('uncaughtException', resolve))
    try {
      const second = new Promise(resolve => {
        bench.ring.nop(() => {
          throw new Error('from a callback')
        })
        bench.ring.nop(resolve)
      })
      expect(await second).to.equal(0)
      expect(await uncaught).to.have.property('message', 'from a callback')
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })

  it('refuses what is out of bounds, and queues nothing', () => {
    const slot = bench.engine.attach(new Uint8Array(100))
    const bad: number[][] = [
      [slot, 0, 101],
      [slot, 100, 1],
      [slot, 101, 0],
      [slot, -1, 1],
      [slot, 0, -1],
      [slot, 0.5, 1],
      [slot, 0, 1.5],
      [slot, NaN, 1],
      [slot, 0, Infinity],
      [slot, 2 ** 53, 2 ** 53],
      [slot + 1, 0, 1],
      [-1, 0, 1],
      [0.5, 0, 1],
      [NaN, 0, 1],
      [slot, 0, 10, slot, 95, 6],
    ]
    for (const vec of bad) {
      expect(() => bench.ring.recv(0, vec, neverCalled), String(vec))
        .to.throw()
        .with.property('code', 'ERR_SLICE_OUT_OF_BOUNDS')
    }
    expect(() => bench.ring.recv(0, [slot, 0], neverCalled))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
    expect(() => bench.ring.read(0, [slot, 0, 1], -1, neverCalled))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
    for (const fd of [-1, 1.5, NaN, 2 ** 31]) {
      expect(() => bench.ring.accept(fd, neverCalled))
        .to.throw()
        .with.property('code', 'ERR_INVALID_PARAMS')
    }
    expect(() => bench.ring.connect(0, { host: 'localhost', port: 1 }, neverCalled))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
    expect(bench.engine.stats().inFlight).to.equal(0)
  })

  it('says 0 when there is nothing to move', async () => {
    const slot = bench.engine.attach(new Uint8Array(1))
    expect(await result(bench.ring, done => bench.ring.recv(0, [slot, 1, 0], done))).to.equal(0)
    expect(await result(bench.ring, done => bench.ring.write(0, [], 0, done))).to.equal(0)
  })

  it('keeps detached memory until the last operation on it has ended', async () => {
    const [client, server] = await connectedPair(bench)
    await collectGarbage()
    const before = memoryStats().liveRegions
    const region = createRegion({ byteLength: 4096 })
    const slot = bench.engine.attach(region)
    const source = bench.engine.attach(new Uint8Array(4096))
    const received = result(bench.ring, done =>
      bench.ring.recv(server, [slot, 0, 4096], done, { waitAll: true }),
    )
    region.close()
    bench.engine.detach(slot)
    expect(() => bench.ring.recv(server, [slot, 0, 1], neverCalled))
      .to.throw()
      .with.property('code', 'ERR_SLICE_OUT_OF_BOUNDS')
    expect(bench.engine.stats().attachedSlots).to.equal(1)
    expect(memoryStats().liveRegions).to.equal(before + 1)
    await result(bench.ring, done => bench.ring.send(client, [source, 0, 4096], done))
    expect(await received).to.equal(4096)
    expect(memoryStats().liveRegions).to.equal(before)
    // The number is free again.
    expect(bench.engine.attach(new Uint8Array(1))).to.equal(slot)
  })

  it('settles everything in flight on close, and then refuses', async () => {
    const pairs = [await connectedPair(bench), await connectedPair(bench)]
    const slot = bench.engine.attach(new Uint8Array(64 << 20))
    const outcomes: Promise<number>[] = []
    for (const [client, server] of pairs) {
      outcomes.push(result(bench.ring, done => bench.ring.recv(server, [slot, 0, 10], done)))
      // More than the socket buffers take, and nobody reads it.
      outcomes.push(result(bench.ring, done => bench.ring.send(client, [slot, 0, 64 << 20], done)))
    }
    const prepared = new Promise<number>(resolve =>
      bench.ring.recv((pairs[0] as number[])[0] as number, [slot, 0, 1], resolve),
    )
    const closed = bench.engine.close()
    expect(bench.engine.close()).to.equal(closed)
    await closed
    for (const outcome of await Promise.all(outcomes)) {
      expect(outcome < 0 ? errnoName(outcome) : outcome).to.satisfy(
        (r: unknown) => r === 'ECANCELED' || (r as number) < 64 << 20,
      )
    }
    expect(errnoName(await prepared)).to.equal('ECANCELED')
    expect(bench.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
    expect(() => bench.ring.nop(neverCalled))
      .to.throw()
      .with.property('code', 'ERR_SHUTTING_DOWN')
    expect(() => bench.engine.attach(new Uint8Array(1)))
      .to.throw()
      .with.property('code', 'ERR_SHUTTING_DOWN')
    bench.engine.detach(slot)
    bench.ring.submit()
  })

  it('can be closed from a callback', async () => {
    let closed: Promise<void> | undefined
    await result(bench.ring, done =>
      bench.ring.nop(outcome => {
        closed = bench.engine.close()
        done(outcome)
      }),
    )
    await closed
  })
})

describe('createIoEngine', () => {
  const saved = process.env['MOONCAKE_IO_ENGINE']
  afterEach(() => {
    if (saved === undefined) delete process.env['MOONCAKE_IO_ENGINE']
    else process.env['MOONCAKE_IO_ENGINE'] = saved
  })

  const opened = async (engine: IoEngine): Promise<[string, string]> => {
    await engine.close()
    return [engine.kind, engine.reason]
  }

  it('lets the environment decide only where the caller did not', async () => {
    process.env['MOONCAKE_IO_ENGINE'] = 'threads'
    expect(await opened(createIoEngine())).to.deep.equal(['threads', 'asked for'])
    if (!uringRefused) expect((await opened(createIoEngine({ engine: 'io_uring' })))[0]).to.equal('io_uring')
    process.env['MOONCAKE_IO_ENGINE'] = 'fast'
    expect(() => createIoEngine())
      .to.throw(/MOONCAKE_IO_ENGINE/)
      .with.property('code', 'ERR_INVALID_PARAMS')
  })

  it('checks its options', () => {
    for (const options of [
      { entries: 0 },
      { entries: 1.5 },
      { bulkThreads: -1 },
      { bulkThreads: 65 },
      { fileThreads: 0 },
    ]) {
      expect(() => createIoEngine(options))
        .to.throw()
        .with.property('code', 'ERR_INVALID_PARAMS')
    }
  })

  it('has the bulk rings that were asked for', async () => {
    for (const { options } of PLACES) {
      if (options.engine === 'io_uring' && uringRefused) continue
      const engine = createIoEngine({ ...options, bulkThreads: 3 })
      expect(engine.bulk).to.have.length(3)
      expect(engine.bulk.every(ring => ring === engine.inline)).to.equal(engine.kind === 'threads')
      await engine.close()
    }
  })

  it('attaches Regions and bytes, and nothing else', async () => {
    const engine = createIoEngine({ bulkThreads: 0 })
    const attach = (memory: unknown): number => engine.attach(memory as Uint8Array)
    for (const wrong of [{}, { handle: {} }, { handle: 5 }, new Float64Array(1)]) {
      expect(() => attach(wrong))
        .to.throw()
        .with.property('code', 'ERR_INVALID_PARAMS')
    }
    const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer
    expect(() => attach(new Uint8Array(new Resizable(8, { maxByteLength: 16 }))))
      .to.throw()
      .with.property('code', 'ERR_INVALID_PARAMS')
    const region = createRegion({ byteLength: 4096 })
    region.close()
    expect(() => engine.attach(region))
      .to.throw()
      .with.property('code', 'ERR_REGION_CLOSED')
    // Memory that the kernel may write to does not move to another owner.
    const bytes = new Uint8Array(8)
    engine.attach(bytes)
    structuredClone(bytes, { transfer: [bytes.buffer] })
    expect(bytes.byteLength).to.equal(8)
    await engine.close()
  })
})

function neverCalled(): void {
  throw new Error('called for an operation that was refused')
}
