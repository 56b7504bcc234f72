import { expect } from 'chai'
import { kib, mib, type TransferOp } from '@mooncake-ts/core'
import { randomBytes, randomUint32 } from '../../helpers/random.js'
import { assertSameBytes, bytesOf, copyOf, isUntouchedAround, partOf } from '../arena.js'
import { opAt, remoteOf, type End, type TransportFixture } from './fixture.js'

export function bytesTests(fixture: TransportFixture): void {
  it('says its scheme, and where peers reach it', async () => {
    const { a, b } = await fixture.pair()
    expect(a.transport.scheme).to.be.a('string').that.is.not.equal('')
    expect(a.transport.endpoint).to.be.a('string').that.is.not.equal('')
    expect(a.transport.endpoint).to.not.equal(b.transport.endpoint)
    const { window } = b.expose(b.arena.blank(10))
    expect(window.scheme).to.equal(b.transport.scheme)
    expect(window.endpoint).to.equal(b.transport.endpoint)
  })

  it('reaches windows of its own scheme, and of no other', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(10))
    expect(a.transport.reaches(window)).to.equal(true)
    expect(a.transport.reaches({ ...window, scheme: 'no-such-scheme' })).to.equal(false)
  })

  for (const byteLength of [1, 63, 4096, 100_001]) {
    it(`reads remote bytes into local memory, and touches nothing else: ${byteLength}`, async () => {
      const { a, b } = await fixture.pair()
      const source = b.arena.holding(randomBytes(byteLength, byteLength))
      const target = a.arena.blank(byteLength)
      const completions = await a.run(opAt('read', target, b.expose(source, 'read').window))
      expect(completions).to.deep.equal([{ index: 0, bytes: byteLength }])
      assertSameBytes(bytesOf(target), bytesOf(source))
      expect(isUntouchedAround(target)).to.equal(true)
    })

    it(`writes local bytes to remote memory, and touches nothing else: ${byteLength}`, async () => {
      const { a, b } = await fixture.pair()
      const source = a.arena.holding(randomBytes(byteLength, byteLength))
      const target = b.arena.blank(byteLength)
      const completions = await a.run(opAt('write', source, b.expose(target, 'write').window))
      expect(completions).to.deep.equal([{ index: 0, bytes: byteLength }])
      assertSameBytes(bytesOf(target), bytesOf(source))
      expect(isUntouchedAround(target)).to.equal(true)
    })
  }

  it('takes windows as plain data, as they come out of an RPC', async () => {
    const { a, b } = await fixture.pair()
    const source = b.arena.holding(randomBytes(100, 1))
    const { scheme, endpoint, key } = b.expose(source).window
    const target = a.arena.blank(100)
    const [completion] = await a.run(opAt('read', target, { scheme, endpoint, key: Buffer.from(key) }))
    expect(completion).to.deep.equal({ index: 0, bytes: 100 })
    assertSameBytes(bytesOf(target), bytesOf(source))
  })

  it('reaches the first and the last byte of a window, counted from its start', async () => {
    const { a, b } = await fixture.pair()
    const remote = b.arena.holding(randomBytes(1000, 2))
    const original = copyOf(remote)
    const { window } = b.expose(remote)
    const local = a.arena.blank(2)
    const completions = await a.run(
      { kind: 'read', local: partOf(local, 0, 1), remote: remoteOf(window, 0, 1) },
      { kind: 'read', local: partOf(local, 1, 1), remote: remoteOf(window, 999, 1) },
    )
    expect(completions.map(({ bytes }) => bytes)).to.deep.equal([1, 1])
    expect([...bytesOf(local)]).to.deep.equal([original[0], original[999]])
  })

  it('moves zero bytes, also at the end of a window', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(100))
    const local = a.arena.blank(0)
    for (const kind of ['read', 'write'] as const) {
      const ops = [0, 50, 100].map(offset => ({ kind, local, remote: remoteOf(window, offset, 0) }))
      const completions = await a.run(...ops)
      expect(completions.map(({ bytes, error }) => error ?? bytes)).to.deep.equal([0, 0, 0])
    }
  })

  it('completes an empty batch', async () => {
    const { a } = await fixture.pair()
    expect(await a.run()).to.deep.equal([])
  })

  it('moves reads and writes of one batch, to several windows', async () => {
    const { a, b } = await fixture.pair()
    const readFrom = b.arena.holding(randomBytes(5000, 3))
    const writeTo = b.arena.blank(7000)
    const readInto = a.arena.blank(5000)
    const writeFrom = a.arena.holding(randomBytes(7000, 4))
    const completions = await a.run(
      opAt('read', readInto, b.expose(readFrom, 'read').window),
      opAt('write', writeFrom, b.expose(writeTo, 'write').window),
    )
    expect(completions.map(({ bytes }) => bytes)).to.deep.equal([5000, 7000])
    assertSameBytes(bytesOf(readInto), bytesOf(readFrom))
    assertSameBytes(bytesOf(writeTo), bytesOf(writeFrom))
  })

  it('reaches its own windows, where it says so', async () => {
    const { a } = await fixture.pair()
    const source = a.arena.holding(randomBytes(5000, 5))
    const { window } = a.expose(source)
    if (!a.transport.reaches(window)) return
    const target = a.arena.blank(5000)
    expect(await a.run(opAt('read', target, window))).to.deep.equal([{ index: 0, bytes: 5000 }])
    assertSameBytes(bytesOf(target), bytesOf(source))
  })

  loadTests(fixture)
}

function loadTests(fixture: TransportFixture): void {
  for (const kind of ['read', 'write'] as const) {
    it(`completes every ${kind} of a batch once, in any order, with its own bytes`, async () => {
      const { a, b } = await fixture.pair()
      const next = randomUint32(6)
      const lengths = Array.from({ length: 200 }, () => next() % 9000)
      await assertMoves(kind, a, b, lengths)
    })

    it(`takes a batch of 2,000 small ${kind}s`, async function () {
      this.timeout(60_000)
      const { a, b } = await fixture.pair()
      await assertMoves(
        kind,
        a,
        b,
        Array.from({ length: 2000 }, (_, i) => 1 + (i % 300)),
      )
    })

    it(`takes one large ${kind} of a batch that has small ones too`, async function () {
      this.timeout(60_000)
      const { a, b } = await fixture.pair()
      await assertMoves(kind, a, b, [100, fixture.setup.largeBytes ?? mib(64), 100])
    })
  }

  it('runs many batches at the same time, both ways', async function () {
    this.timeout(60_000)
    const { a, b } = await fixture.pair()
    const lengths = Array.from({ length: 16 }, (_, i) => 1 + i * 997)
    const batches = Array.from({ length: 16 }, (_, i) =>
      assertMoves(i % 2 === 0 ? 'read' : 'write', i % 4 < 2 ? a : b, i % 4 < 2 ? b : a, lengths),
    )
    await Promise.all(batches)
  })

  it('runs between three ends, each with each', async function () {
    this.timeout(60_000)
    const ends = [await fixture.end(), await fixture.end(), await fixture.end()]
    const lengths = Array.from({ length: 8 }, () => kib(40))
    const pairs = ends.flatMap(a => ends.filter(b => b !== a).map(b => [a, b] as const))
    await Promise.all(pairs.map(([a, b]) => assertMoves('write', a, b, lengths)))
  })
}

/** Moves ranges of these lengths, that lie one after another, as one batch in a shuffled order. */
async function assertMoves(
  kind: 'read' | 'write',
  mover: End,
  owner: End,
  lengths: readonly number[],
): Promise<void> {
  const wholeBytes = lengths.reduce((sum, byteLength) => sum + byteLength, 0)
  const [from, to] = kind === 'read' ? [owner, mover] : [mover, owner]
  const source = from.arena.holding(randomBytes(wholeBytes, lengths.length))
  const target = to.arena.blank(wholeBytes)
  const { window } = owner.expose(kind === 'read' ? source : target, kind)
  const local = kind === 'read' ? target : source
  let end = 0
  const ops: TransferOp[] = lengths.map(byteLength => {
    end += byteLength
    return opAt(kind, local, window, end - byteLength, byteLength)
  })
  const next = randomUint32(lengths.length)
  const shuffled = ops
    .map(op => ({ op, rank: next() }))
    .sort((x, y) => x.rank - y.rank)
    .map(({ op }) => op)
  const completions = await mover.run(...shuffled)
  expect(completions.map(({ error }) => error).find(error => error != null)).to.equal(undefined)
  expect(completions).to.deep.equal(shuffled.map((op, index) => ({ index, bytes: op.local.byteLength })))
  assertSameBytes(bytesOf(target), bytesOf(source))
  expect(isUntouchedAround(target)).to.equal(true)
}
