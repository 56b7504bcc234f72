import { expect } from 'chai'
import { kib, type Completion, type CompletionStream, type Slice } from '@mooncake-ts/core'
import { randomBytes } from '../../helpers/random.js'
import { until } from '../../helpers/until.js'
import { watch } from '../../helpers/watch.js'
import { bytesOf, copyOf, isFilledWith, neverAborted, partOf } from '../arena.js'
import type { TierFixture } from './fixture.js'

const COUNT = 48
const OBJECT_BYTES = kib(64)
/** What tests write over memory that must be at rest. */
const SCRIBBLE = 0xee

export function endsTests(fixture: TierFixture): void {
  it('posts nothing until somebody subscribes', async () => {
    const bytes = randomBytes(1000, 20)
    const allocation = await fixture.put(bytes)
    fixture.tier.write([{ allocation, from: fixture.arena.blank(1000) }], { signal: neverAborted })
    await barrier(fixture)
    await fixture.assertHolds(allocation, bytes)
  })

  it('posts nothing when the signal has aborted before, and ends with its reason', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(1000, 21)
    const allocation = await fixture.put(bytes)
    const into = arena.blank(1000)
    const reason = new Error('not wanted any more')
    const options = { signal: AbortSignal.abort(reason) }
    const streams = [
      tier.write([{ allocation, from: arena.blank(1000) }], options),
      tier.read([{ allocation, offset: 0, into }], options),
    ]
    for (const stream of streams)
      expect(await watch(stream).ended).to.deep.equal({ completions: [], failed: true, error: reason })
    await barrier(fixture)
    await fixture.assertHolds(allocation, bytes)
    expect(isFilledWith(bytesOf(into), 0)).to.equal(true)
  })

  for (const when of ['at once', 'after the first completion'] as const) {
    it(`ends a read that is aborted ${when} at rest, with the reason of the signal`, async () => {
      const { tier, arena } = fixture
      const bytes = randomBytes(OBJECT_BYTES, 22)
      const allocation = await fixture.put(bytes)
      const target = arena.blank(COUNT * OBJECT_BYTES)
      const batch = partsOf(target).map(into => ({ allocation, offset: 0, into }))
      await assertAborts(when, signal => tier.read(batch, { signal }))
      bytesOf(target).fill(SCRIBBLE)
      await barrier(fixture)
      expect(isFilledWith(bytesOf(target), SCRIBBLE), 'the memory is at rest').to.equal(true)
      await fixture.assertHolds(allocation, bytes)
    })

    it(`ends a write that is aborted ${when} at rest, with the reason of the signal`, async () => {
      const { tier, arena } = fixture
      const source = arena.holding(randomBytes(COUNT * OBJECT_BYTES, 23))
      const original = copyOf(source)
      const batch = partsOf(source).map(from => ({ allocation: fixture.allocate(OBJECT_BYTES), from }))
      const completions = await assertAborts(when, signal => tier.write(batch, { signal }))
      bytesOf(source).fill(SCRIBBLE)
      await barrier(fixture)
      for (const { index, error } of completions) {
        if (error != null) continue
        const expected = original.subarray(index * OBJECT_BYTES, (index + 1) * OBJECT_BYTES)
        await fixture.assertHolds(batch[index]!.allocation, expected)
      }
    })
  }

  it('goes on when nobody watches any more: unsubscribing is not aborting', async () => {
    const { tier, arena } = fixture
    const bytes = randomBytes(OBJECT_BYTES, 24)
    const allocation = await fixture.put(bytes)
    const target = arena.blank(COUNT * OBJECT_BYTES)
    const batch = partsOf(target).map(into => ({ allocation, offset: 0, into }))
    watch(tier.read(batch, { signal: neverAborted })).unsubscribe()
    await until(() => batch.every(({ into }) => Buffer.compare(bytesOf(into), bytes) === 0))
  })

  it('is at rest when it has stopped, and every batch ends', async () => {
    const { tier, arena } = fixture
    const allocation = await fixture.put(randomBytes(OBJECT_BYTES, 25))
    const target = arena.blank(COUNT * OBJECT_BYTES)
    const batch = partsOf(target).map(into => ({ allocation, offset: 0, into }))
    const reading = watch(tier.read(batch, { signal: neverAborted }))
    await fixture.stop()
    bytesOf(target).fill(SCRIBBLE)
    await until(() => reading.hasEnded)
    expect(isFilledWith(bytesOf(target), SCRIBBLE), 'the memory is at rest').to.equal(true)
  })

  it('moves nothing once it has stopped', async () => {
    const { tier, arena } = fixture
    const allocation = await fixture.put(randomBytes(100, 26))
    await fixture.stop()
    const into = arena.blank(100)
    const outcome = await watch(tier.read([{ allocation, offset: 0, into }], { signal: neverAborted })).ended
    expect(outcome.failed || outcome.completions.every(({ error }) => error != null)).to.equal(true)
    expect(isFilledWith(bytesOf(into), 0)).to.equal(true)
  })
}

const partsOf = (whole: Slice): Slice[] =>
  Array.from({ length: COUNT }, (_, i) => partOf(whole, i * OBJECT_BYTES, OBJECT_BYTES))

/** Aborts a batch. Where the device was quicker than the abort, all is done, and the stream completes. */
async function assertAborts(
  when: 'at once' | 'after the first completion',
  post: (signal: AbortSignal) => CompletionStream,
): Promise<readonly Completion[]> {
  const controller = new AbortController()
  const reason = new Error('not wanted any more')
  const running = watch(post(controller.signal), () => {
    controller.abort(reason)
  })
  if (when === 'at once') controller.abort(reason)
  const { completions, failed, error } = await running.ended
  if (failed) expect(error).to.equal(reason)
  else expect(completions).to.have.lengthOf(COUNT)
  return completions
}

/** Whatever the tier still had to do, it has had the time for: another object has been written and read. */
async function barrier(fixture: TierFixture): Promise<void> {
  const bytes = randomBytes(OBJECT_BYTES, 27)
  const allocation = await fixture.put(bytes)
  await fixture.assertHolds(allocation, bytes)
  await fixture.tier.free(allocation)
}
