import { expect } from 'chai'
import type { Completion, ErrorCode, RemoteWindow, TransferOp } from '@mooncake-ts/core'
import { randomBytes } from '../../helpers/random.js'
import { rejectsWith } from '../../helpers/rejects-with.js'
import { assertSameBytes, bytesOf, copyOf, isFilledWith } from '../arena.js'
import { opAt, remoteOf, type TransportFixture } from './fixture.js'

const KINDS = ['read', 'write'] as const

export function refusalTests(fixture: TransportFixture): void {
  for (const kind of KINDS) {
    it(`refuses a ${kind} that leaves the window, and touches nothing`, async () => {
      const { a, b } = await fixture.pair()
      const exposed = b.arena.holding(randomBytes(100, 1))
      const original = copyOf(exposed)
      const { window } = b.expose(exposed)
      for (const [offset, byteLength] of [
        [0, 101],
        [100, 1],
        [1, 100],
        [2 ** 52, 1],
      ] as const) {
        const local = a.arena.blank(byteLength)
        const [completion] = await a.run({ kind, local, remote: remoteOf(window, offset, byteLength) })
        assertFailed(completion, 'ERR_ACCESS_DENIED')
        expect(isFilledWith(bytesOf(local), 0)).to.equal(true)
      }
      assertSameBytes(bytesOf(exposed), original)
    })

    it(`refuses a ${kind} where the window allows only the other direction`, async () => {
      const { a, b } = await fixture.pair()
      const exposed = b.arena.holding(randomBytes(100, 2))
      const original = copyOf(exposed)
      const { window } = b.expose(exposed, kind === 'read' ? 'write' : 'read')
      const local = a.arena.blank(100)
      const [completion] = await a.run(opAt(kind, local, window))
      assertFailed(completion, 'ERR_ACCESS_DENIED')
      assertSameBytes(bytesOf(exposed), original)
      expect(isFilledWith(bytesOf(local), 0)).to.equal(true)
    })

    it(`refuses a ${kind} whose key is wrong in any byte, too short or too long`, async () => {
      const { a, b } = await fixture.pair()
      const exposed = b.arena.holding(randomBytes(100, 3))
      const original = copyOf(exposed)
      const { window } = b.expose(exposed)
      const local = a.arena.blank(100)
      const completions = await a.run(
        ...wrongKeysOf(window).map(key => opAt(kind, local, { ...window, key })),
      )
      for (const completion of completions) assertFailed(completion)
      assertSameBytes(bytesOf(exposed), original)
      expect(isFilledWith(bytesOf(local), 0)).to.equal(true)
    })
  }

  it('refuses local slices that leave their region or whose region is closed', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(100))
    const local = a.arena.blank(10)
    const closed = a.arena.blank(10)
    closed.region.close()
    for (const kind of KINDS) {
      const completions = await a.run(
        opAt(kind, { ...local, offset: local.region.byteLength - 9 }, window),
        opAt(kind, { ...local, offset: -1 }, window),
        opAt(kind, closed, window),
      )
      assertFailed(completions[0], 'ERR_SLICE_OUT_OF_BOUNDS')
      assertFailed(completions[1], 'ERR_SLICE_OUT_OF_BOUNDS')
      assertFailed(completions[2], 'ERR_REGION_CLOSED')
    }
  })

  it('refuses an operation whose two lengths differ', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(100))
    const local = a.arena.blank(10)
    for (const kind of KINDS) {
      const batch = [9, 11, 0].map(byteLength => ({ kind, local, remote: remoteOf(window, 0, byteLength) }))
      for (const completion of await a.run(...batch)) assertFailed(completion)
    }
  })

  it('an operation that fails leaves the others of its batch alone', async () => {
    const { a, b } = await fixture.pair()
    const source = b.arena.holding(randomBytes(100, 4))
    const { window } = b.expose(source, 'read')
    const targets = Array.from({ length: 20 }, () => a.arena.blank(100))
    const batch = targets.map((local, i): TransferOp => {
      const key = i % 2 === 0 ? window.key : wrongKeysOf(window)[0]!
      return opAt('read', local, { ...window, key })
    })
    for (const { index, bytes, error } of await a.run(...batch)) {
      expect([bytes, error == null]).to.deep.equal(index % 2 === 0 ? [100, true] : [0, false])
      if (index % 2 === 0) assertSameBytes(bytesOf(targets[index]!), bytesOf(source))
    }
  })

  exposeTests(fixture)
}

function exposeTests(fixture: TransportFixture): void {
  it('does not expose what leaves its region', async () => {
    const { b } = await fixture.pair()
    const region = b.arena.region(4096)
    for (const [offset, byteLength] of [
      [0, 4097],
      [4096, 1],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const)
      await rejectsWith(
        () => b.transport.expose(region, { offset, byteLength, access: 'read' }),
        'ERR_SLICE_OUT_OF_BOUNDS',
      )
  })

  it('does not expose a closed region', async () => {
    const { b } = await fixture.pair()
    const slice = b.arena.blank(10)
    slice.region.close()
    await rejectsWith(() => b.expose(slice), 'ERR_REGION_CLOSED')
  })

  it('does not expose once it has stopped', async () => {
    const { b } = await fixture.pair()
    const slice = b.arena.blank(10)
    await b.host.stop()
    await rejectsWith(() => b.expose(slice), 'ERR_SHUTTING_DOWN')
  })

  it('gives every exposure a key of its own, also for the same range', async () => {
    const { b } = await fixture.pair()
    const slice = b.arena.blank(10)
    const keys = Array.from({ length: 50 }, () => Buffer.from(b.expose(slice).window.key).toString('hex'))
    expect(new Set(keys).size).to.equal(50)
  })

  it('refuses peers once the region was closed', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(100)
    const { window } = b.expose(exposed)
    const local = a.arena.blank(100)
    exposed.region.close()
    for (const kind of KINDS) assertFailed((await a.run(opAt(kind, local, window)))[0])
  })
}

/** Every byte changed once, one byte less, one more, and none. */
function wrongKeysOf({ key }: RemoteWindow): Uint8Array[] {
  const changed = Array.from(key, (_, at) => key.map((byte, i) => (i === at ? byte ^ 0x40 : byte)))
  return [...changed, key.slice(0, -1), Uint8Array.of(...key, 0), new Uint8Array(0)]
}

function assertFailed(completion: Completion | undefined, code?: ErrorCode): void {
  expect(completion, 'the completion').to.not.equal(undefined)
  expect(completion!.bytes).to.equal(0)
  expect(completion!.error).to.be.an.instanceOf(Error)
  if (code != null) expect(completion!.error).to.have.property('code', code)
}
