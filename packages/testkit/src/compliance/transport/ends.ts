import { expect } from 'chai'
import { kib, mib, type Completion, type CompletionStream } from '@mooncake-ts/core'
import { randomBytes } from '../../helpers/random.js'
import { until } from '../../helpers/until.js'
import { watch } from '../../helpers/watch.js'
import { assertSameBytes, bytesOf, isFilledWith, neverAborted } from '../arena.js'
import { opAt, opsOf, type End, type TransportFixture } from './fixture.js'

const WHOLE_BYTES = mib(8)
const PIECE_BYTES = kib(128)
const COUNT = WHOLE_BYTES / PIECE_BYTES
/** What tests write over memory that must be at rest. */
const SCRIBBLE = 0xee

const KINDS = ['read', 'write'] as const
type When = 'at once' | 'after the first completion'

export function endsTests(fixture: TransportFixture): void {
  it('posts nothing until somebody subscribes', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(100)
    const { window } = b.expose(exposed)
    a.transport.execute([opAt('write', a.arena.holding(randomBytes(100, 1)), window)], {
      signal: neverAborted,
    })
    await barrier(a, b)
    expect(isFilledWith(bytesOf(exposed), 0)).to.equal(true)
  })

  it('posts nothing when the signal has aborted before, and ends with its reason', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(100)
    const { window } = b.expose(exposed)
    const reason = new Error('not wanted any more')
    const batch = [opAt('write', a.arena.holding(randomBytes(100, 2)), window)]
    const outcome = await watch(a.transport.execute(batch, { signal: AbortSignal.abort(reason) })).ended
    expect(outcome).to.deep.equal({ completions: [], failed: true, error: reason })
    await barrier(a, b)
    expect(isFilledWith(bytesOf(exposed), 0)).to.equal(true)
  })

  for (const when of ['at once', 'after the first completion'] as const) {
    it(`ends a read that is aborted ${when} at rest, with the reason of the signal`, async () => {
      const { a, b } = await fixture.pair()
      const { window } = b.expose(b.arena.holding(randomBytes(WHOLE_BYTES, 3)))
      const target = a.arena.blank(WHOLE_BYTES)
      const ops = opsOf('read', target, window, PIECE_BYTES)
      await assertAborts(when, signal => a.transport.execute(ops, { signal }))
      bytesOf(target).fill(SCRIBBLE)
      await barrier(a, b)
      expect(isFilledWith(bytesOf(target), SCRIBBLE), 'the memory is at rest').to.equal(true)
    })

    it(`ends a write that is aborted ${when} at rest, with the reason of the signal`, async () => {
      const { a, b } = await fixture.pair()
      const exposed = b.arena.blank(WHOLE_BYTES)
      const source = a.arena.holding(new Uint8Array(WHOLE_BYTES).fill(0x11))
      const ops = opsOf('write', source, b.expose(exposed).window, PIECE_BYTES)
      await assertAborts(when, signal => a.transport.execute(ops, { signal }))
      bytesOf(source).fill(SCRIBBLE)
      await barrier(a, b)
      const late = bytesOf(exposed).includes(SCRIBBLE)
      expect(late, 'bytes that were in the source only after the end').to.equal(false)
    })
  }

  it('an aborted batch leaves the others alone', async () => {
    const { a, b } = await fixture.pair()
    const source = b.arena.holding(randomBytes(WHOLE_BYTES, 4))
    const { window } = b.expose(source)
    const [kept, aborted] = [a.arena.blank(WHOLE_BYTES), a.arena.blank(WHOLE_BYTES)]
    const running = watch(
      a.transport.execute(opsOf('read', kept, window, PIECE_BYTES), { signal: neverAborted }),
    )
    const ops = opsOf('read', aborted, window, PIECE_BYTES)
    await assertAborts('after the first completion', signal => a.transport.execute(ops, { signal }))
    const { completions, failed } = await running.ended
    expect(failed).to.equal(false)
    expect(completions.filter(({ error }) => error != null)).to.deep.equal([])
    assertSameBytes(bytesOf(kept), bytesOf(source))
  })

  it('goes on when nobody watches any more: unsubscribing is not aborting', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(WHOLE_BYTES)
    const source = a.arena.holding(randomBytes(WHOLE_BYTES, 5))
    const ops = opsOf('write', source, b.expose(exposed).window, PIECE_BYTES)
    watch(a.transport.execute(ops, { signal: neverAborted })).unsubscribe()
    await until(() => Buffer.compare(bytesOf(exposed), bytesOf(source)) === 0)
  })

  it('completes every operation whose local region is closed meanwhile', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(WHOLE_BYTES))
    for (const kind of KINDS) {
      const local = a.arena.blank(WHOLE_BYTES)
      const ops = opsOf(kind, local, window, PIECE_BYTES)
      const running = watch(a.transport.execute(ops, { signal: neverAborted }), () => {
        local.region.close()
      })
      assertAllCompleted((await running.ended).completions)
    }
  })

  revokeTests(fixture)
  stopTests(fixture)
}

function revokeTests(fixture: TransportFixture): void {
  it('refuses peers after `revoke`, which is idempotent', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(100)
    const exposure = b.expose(exposed)
    await Promise.all([exposure.revoke(), exposure.revoke()])
    await exposure.revoke()
    const local = a.arena.holding(randomBytes(100, 6))
    for (const kind of KINDS) {
      const [completion] = await a.run(opAt(kind, local, exposure.window))
      expect(completion).to.have.nested.property('error.code', 'ERR_ACCESS_DENIED')
    }
    expect(isFilledWith(bytesOf(exposed), 0)).to.equal(true)
  })

  it('revokes one exposure and leaves others of the same range alone', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.holding(randomBytes(100, 7))
    const [revoked, kept] = [b.expose(exposed), b.expose(exposed)]
    await revoked.revoke()
    const local = a.arena.blank(100)
    expect(await a.run(opAt('read', local, kept.window))).to.deep.equal([{ index: 0, bytes: 100 }])
    assertSameBytes(bytesOf(local), bytesOf(exposed))
  })

  for (const kind of KINDS) {
    it(`\`revoke\`: settles when no ${kind} of a peer touches the range any more`, async function () {
      const { a, b } = await fixture.pair()
      if (!b.transport.supports.revoke) this.skip()
      const exposed = b.arena.holding(new Uint8Array(WHOLE_BYTES).fill(0x11))
      const exposure = b.expose(exposed)
      const local = a.arena.holding(new Uint8Array(WHOLE_BYTES).fill(0x22))
      const ops = opsOf(kind, local, exposure.window, PIECE_BYTES)
      let revoking: Promise<void> | undefined
      const running = watch(a.transport.execute(ops, { signal: neverAborted }), () => {
        revoking ??= exposure.revoke()
      })
      await until(() => revoking != null)
      await revoking
      bytesOf(exposed).fill(SCRIBBLE)
      const { completions } = await running.ended
      await barrier(a, b)
      assertAllCompleted(completions)
      // A write after the revoke would be seen in the exposed range, a read in the local one.
      expect(isFilledWith(bytesOf(exposed), SCRIBBLE), 'the exposed range is at rest').to.equal(true)
      expect(bytesOf(local).includes(SCRIBBLE), 'bytes that were exposed only after the revoke').to.equal(
        false,
      )
    })
  }
}

function stopTests(fixture: TransportFixture): void {
  it('is at rest when it has stopped, and every batch ends', async () => {
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.holding(randomBytes(WHOLE_BYTES, 8)))
    const target = a.arena.blank(WHOLE_BYTES)
    const running = watch(
      a.transport.execute(opsOf('read', target, window, PIECE_BYTES), { signal: neverAborted }),
    )
    await until(() => running.completions.length > 0)
    await a.host.stop()
    bytesOf(target).fill(SCRIBBLE)
    await until(() => running.hasEnded)
    expect(isFilledWith(bytesOf(target), SCRIBBLE), 'the memory is at rest').to.equal(true)
  })

  it('touches no exposed memory once it has stopped, and peers get completions', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(WHOLE_BYTES)
    const { window } = b.expose(exposed)
    const source = a.arena.holding(randomBytes(WHOLE_BYTES, 9))
    const running = watch(
      a.transport.execute(opsOf('write', source, window, PIECE_BYTES), { signal: neverAborted }),
    )
    await until(() => running.completions.length > 0)
    await b.host.stop()
    bytesOf(exposed).fill(SCRIBBLE)
    const { completions, failed } = await running.ended
    expect(failed).to.equal(false)
    assertAllCompleted(completions)
    expect(isFilledWith(bytesOf(exposed), SCRIBBLE), 'the memory is at rest').to.equal(true)
  })

  it('moves nothing once it has stopped', async () => {
    const { a, b } = await fixture.pair()
    const exposed = b.arena.blank(100)
    const { window } = b.expose(exposed)
    const source = a.arena.holding(randomBytes(100, 10))
    await a.host.stop()
    const outcome = await watch(
      a.transport.execute([opAt('write', source, window)], { signal: neverAborted }),
    ).ended
    expect(outcome.failed || outcome.completions.every(({ error }) => error != null)).to.equal(true)
    expect(isFilledWith(bytesOf(exposed), 0)).to.equal(true)
  })

  it('a peer that is gone is a failed completion, and the next peer is reached', async function () {
    this.timeout(30_000)
    const { a, b } = await fixture.pair()
    const { window } = b.expose(b.arena.blank(100))
    const local = a.arena.blank(100)
    await a.run(opAt('read', local, window))
    await b.host.stop()
    const completions = await a.run(opAt('read', local, window), opAt('write', local, window))
    for (const completion of completions)
      expect(completion).to.have.nested.property('error.code', 'ERR_TRANSFER_FAIL')
    await barrier(a, await fixture.end())
  })
}

function assertAllCompleted(completions: readonly Completion[]): void {
  const indices = completions.map(({ index }) => index).sort((x, y) => x - y)
  expect(indices).to.deep.equal(Array.from({ length: COUNT }, (_, i) => i))
}

/** Aborts a batch. Where the device was quicker than the abort, all is done, and the stream completes. */
async function assertAborts(when: When, post: (signal: AbortSignal) => CompletionStream): Promise<void> {
  const controller = new AbortController()
  const reason = new Error('not wanted any more')
  const running = watch(post(controller.signal), () => {
    controller.abort(reason)
  })
  if (when === 'at once') controller.abort(reason)
  const { completions, failed, error } = await running.ended
  if (failed) expect(error).to.equal(reason)
  else assertAllCompleted(completions)
}

/**
 * Whatever was still to be moved between the two has had the time for it: a later batch has come and gone.
 */
async function barrier(a: End, b: End): Promise<void> {
  const source = a.arena.holding(randomBytes(PIECE_BYTES * 4, 11))
  const target = b.arena.blank(PIECE_BYTES * 4)
  await a.run(...opsOf('write', source, b.expose(target).window, PIECE_BYTES))
  assertSameBytes(bytesOf(target), bytesOf(source))
}
