import { expect } from 'chai'
import { closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { errnoName } from '@mooncake-ts/io-uring'
import { createRegion } from '@mooncake-ts/memory'
import { rejectsWith } from '@mooncake-ts/testkit'
import { forEachPlace, pattern, result, sameBytes, useDirectory } from './support.js'

forEachPlace('files', bench => {
  const directory = useDirectory()
  const opened: number[] = []
  const open = (name: string, flags: number): number => {
    const fd = openSync(directory.path(name), flags, 0o600)
    opened.push(fd)
    return fd
  }
  afterEach(async () => {
    await bench.engine.close()
    for (const fd of opened.splice(0)) closeSync(fd)
  })

  it('writes and reads vectors at offsets', async () => {
    const fd = open('vectors', constants.O_RDWR | constants.O_CREAT)
    const bytes = pattern(10_000)
    const slot = bench.engine.attach(bytes)
    const write = result(bench.ring, done =>
      bench.ring.write(fd, [slot, 5000, 5000, slot, 0, 5000], 100, done),
    )
    expect(await write).to.equal(10_000)
    expect(await result(bench.ring, done => bench.ring.fsync(fd, done))).to.equal(0)
    expect(await result(bench.ring, done => bench.ring.fsync(fd, done, { dataOnly: true }))).to.equal(0)
    const file = readFileSync(directory.path('vectors'))
    expect(sameBytes(file.subarray(100, 5100), bytes.subarray(5000))).to.equal(true)
    expect(sameBytes(file.subarray(5100), bytes.subarray(0, 5000))).to.equal(true)

    const target = new Uint8Array(10_000)
    const into = bench.engine.attach(target)
    const read = result(bench.ring, done => bench.ring.read(fd, [into, 5000, 5000, into, 0, 5000], 100, done))
    expect(await read).to.equal(10_000)
    expect(sameBytes(target, bytes)).to.equal(true)
  })

  it('takes space for a file, which is zeros until it is written', async () => {
    const fd = open('allocated', constants.O_RDWR | constants.O_CREAT)
    expect(await result(bench.ring, done => bench.ring.allocate(fd, 4096, 100_000, done))).to.equal(0)
    expect(statSync(directory.path('allocated')).size).to.equal(104_096)
    expect(statSync(directory.path('allocated')).blocks * 512).to.be.at.least(100_000)
    const readOnly = open('allocated', constants.O_RDONLY)
    const refused = await result(bench.ring, done => bench.ring.allocate(readOnly, 0, 1, done))
    expect(errnoName(refused)).to.equal('EBADF')
    for (const [offset, length] of [
      [-1, 1],
      [0, 0],
      [0, 2 ** 53],
    ] as const)
      await rejectsWith(() => bench.ring.allocate(fd, offset, length, () => {}), 'ERR_INVALID_PARAMS')
  })

  it('takes vectors longer than the kernel does', async () => {
    const fd = open('long', constants.O_RDWR | constants.O_CREAT)
    const pieces = 2500
    const bytes = pattern(pieces * 10)
    const target = new Uint8Array(pieces * 10)
    // Reversed, so that a piece at a wrong place shows.
    const vector = (slot: number): Float64Array =>
      Float64Array.from(
        { length: pieces * 3 },
        (_, i) => [slot, (pieces - 1 - Math.floor(i / 3)) * 10, 10][i % 3] as number,
      )
    const from = bench.engine.attach(bytes)
    const to = bench.engine.attach(target)
    expect(await result(bench.ring, done => bench.ring.write(fd, vector(from), 3, done))).to.equal(
      pieces * 10,
    )
    expect(await result(bench.ring, done => bench.ring.read(fd, vector(to), 3, done))).to.equal(pieces * 10)
    expect(sameBytes(target, bytes)).to.equal(true)
    expect(readFileSync(directory.path('long')).subarray(3, 13).equals(bytes.subarray(-10))).to.equal(true)
  })

  it('reads short at the end of the file, and 0 behind it', async () => {
    writeFileSync(directory.path('short'), pattern(1000))
    const fd = open('short', constants.O_RDONLY)
    const slot = bench.engine.attach(new Uint8Array(4096))
    expect(await result(bench.ring, done => bench.ring.read(fd, [slot, 0, 4096], 0, done))).to.equal(1000)
    expect(await result(bench.ring, done => bench.ring.read(fd, [slot, 0, 4096], 5000, done))).to.equal(0)
    const refused = await result(bench.ring, done => bench.ring.write(fd, [slot, 0, 1], 0, done))
    expect(errnoName(refused)).to.equal('EBADF')
  })

  it('reads and writes around the page cache, also past an unaligned end', async () => {
    const block = 4096
    writeFileSync(directory.path('direct'), pattern(16 * block + 100))
    const fd = open('direct', constants.O_RDWR | constants.O_DIRECT)
    const region = createRegion({ byteLength: 17 * block })
    const slot = bench.engine.attach(region)
    const read = result(bench.ring, done =>
      bench.ring.read(fd, [slot, 0, 8 * block, slot, 8 * block, 9 * block], 0, done),
    )
    expect(await read).to.equal(16 * block + 100)
    expect(sameBytes(region.view(0, 16 * block + 100), pattern(16 * block + 100))).to.equal(true)
    expect(await result(bench.ring, done => bench.ring.write(fd, [slot, block, block], 0, done))).to.equal(
      block,
    )
    const file = readFileSync(directory.path('direct'))
    expect(sameBytes(file.subarray(0, block), file.subarray(block, 2 * block))).to.equal(true)
    const unaligned = await result(bench.ring, done => bench.ring.read(fd, [slot, 1, 100], 0, done))
    expect(errnoName(unaligned)).to.equal('EINVAL')
    region.close()
  })

  it('ends every one of many reads that are cancelled, one way or the other', async () => {
    writeFileSync(directory.path('many'), pattern(1 << 20))
    const fd = open('many', constants.O_RDONLY)
    const slot = bench.engine.attach(new Uint8Array(1 << 20))
    const ended = Array.from({ length: 50 }, () => {
      let id = 0
      const outcome = result(bench.ring, done => (id = bench.ring.read(fd, [slot, 0, 1 << 20], 0, done)))
      bench.ring.cancel(id)
      return outcome
    })
    for (const outcome of await Promise.all(ended))
      expect(outcome === 1 << 20 || errnoName(outcome) === 'ECANCELED').to.equal(true)
  })
})
