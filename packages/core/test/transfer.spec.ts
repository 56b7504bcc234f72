import { expect } from 'chai'
import { Observable, of, Subject, throwError } from 'rxjs'
import { Transfer, type Completion, type CompletionStream } from '@mooncake-ts/core'
import { failure, strayErrors, turn } from './support.js'

const completions: Completion[] = [
  { index: 1, bytes: 20 },
  { index: 0, bytes: 10 },
  { index: 2, bytes: 0, error: new Error('lost') },
]

/** A device: the test says when operations end, and sees how often it was asked. */
class Device {
  posts = 0
  signal: AbortSignal | undefined
  readonly ends = new Subject<Completion>()

  readonly post = (signal: AbortSignal): CompletionStream =>
    new Observable(subscriber => {
      this.posts++
      this.signal = signal
      return this.ends.subscribe(subscriber)
    })
}

function watch(transfer: Transfer): { seen: Completion[]; ended: () => unknown } {
  const seen: Completion[] = []
  let end: unknown
  transfer.completions$.subscribe({
    next: completion => seen.push(completion),
    error: (error: unknown) => (end = error),
    complete: () => (end = 'complete'),
  })
  return { seen, ended: () => end }
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  await turn()
  const pending = Symbol('pending')
  return (await Promise.race([promise.catch(() => {}), Promise.resolve(pending)])) !== pending
}

describe('Transfer', () => {
  it('posts at once, without a watcher', () => {
    const device = new Device()
    new Transfer(device.post)
    expect(device.posts).to.equal(1)
  })

  it('posts once for two watchers, and both see everything', async () => {
    const device = new Device()
    const transfer = new Transfer(device.post)
    const [first, second] = [watch(transfer), watch(transfer)]
    for (const completion of completions) device.ends.next(completion)
    device.ends.complete()
    await transfer.done
    expect(device.posts).to.equal(1)
    expect(first.seen).to.deep.equal(completions)
    expect(second.seen).to.deep.equal(completions)
  })

  it('replays everything for a watcher that comes late', async () => {
    const transfer = new Transfer(() => of(...completions))
    await transfer.done
    const late = watch(transfer)
    expect(late.seen).to.deep.equal(completions)
    expect(late.ended()).to.equal('complete')
  })

  it('sums up: failed operations do not fail the batch', async () => {
    expect(await new Transfer(() => of(...completions)).done).to.deep.equal({
      completed: 2,
      failed: 1,
      bytes: 30,
    })
  })

  it('ends an empty batch at once', async () => {
    expect(await new Transfer(() => of()).done).to.deep.equal({ completed: 0, failed: 0, bytes: 0 })
  })

  it('goes on when a watcher leaves', async () => {
    const device = new Device()
    const transfer = new Transfer(device.post)
    transfer.completions$.subscribe().unsubscribe()
    device.ends.next({ index: 0, bytes: 5 })
    device.ends.complete()
    expect((await transfer.done).bytes).to.equal(5)
    expect(device.signal!.aborted).to.equal(false)
  })

  it('posts nothing when the signal has aborted before', async () => {
    const device = new Device()
    const reason = new Error('not any more')
    const transfer = new Transfer(device.post, { signal: AbortSignal.abort(reason) })
    expect(await failure(() => transfer.done)).to.equal(reason)
    expect(device.posts).to.equal(0)
  })

  it('passes a cancel on to the device, and settles only when the device is at rest', async () => {
    const device = new Device()
    const transfer = new Transfer(device.post)
    device.ends.next({ index: 0, bytes: 1 })
    transfer.cancel()
    expect(device.signal!.aborted).to.equal(true)
    expect(await isSettled(transfer.done)).to.equal(false)
    device.ends.error(device.signal!.reason)
    const error = await failure(() => transfer.done)
    expect(error.name).to.equal('AbortError')
  })

  it('cancels with the reason of the caller', async () => {
    const device = new Device()
    const reason = new Error('changed my mind')
    const transfer = new Transfer(device.post)
    transfer.cancel(reason)
    expect(device.signal!.reason).to.equal(reason)
    device.ends.complete()
    await transfer.done
  })

  it('lets the signal of the caller cancel too', async () => {
    const device = new Device()
    const controller = new AbortController()
    const transfer = new Transfer(device.post, { signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    expect(device.signal!.reason).to.equal(reason)
    expect(await isSettled(transfer.done)).to.equal(false)
    device.ends.error(reason)
    expect(await failure(() => transfer.done)).to.equal(reason)
  })

  it('does not abort the signal of the caller when it is cancelled', async () => {
    const device = new Device()
    const controller = new AbortController()
    const transfer = new Transfer(device.post, { signal: controller.signal })
    transfer.cancel()
    expect(controller.signal.aborted).to.equal(false)
    device.ends.complete()
    await transfer.done
  })

  it('keeps the result when it is cancelled after the end', async () => {
    const transfer = new Transfer(() => of({ index: 0, bytes: 9 }))
    transfer.cancel()
    expect((await transfer.done).bytes).to.equal(9)
  })

  it('waits for rest when it is disposed of, and does not throw', async () => {
    const device = new Device()
    const transfer = new Transfer(device.post)
    const disposed = transfer[Symbol.asyncDispose]()
    expect(device.signal!.aborted).to.equal(true)
    expect(await isSettled(disposed)).to.equal(false)
    device.ends.error(new Error('aborted'))
    await disposed
  })

  it('gives the error of the batch to watchers and to done', async () => {
    const broken = new Error('the device is gone')
    const transfer = new Transfer(() => throwError(() => broken))
    const watcher = watch(transfer)
    expect(watcher.ended()).to.equal(broken)
    expect(await failure(() => transfer.done)).to.equal(broken)
  })

  it('takes a post that throws for a failed batch', async () => {
    const broken = new Error('cannot')
    const transfer = new Transfer(() => {
      throw broken
    })
    expect(await failure(() => transfer.done)).to.equal(broken)
  })

  it('leaves no unhandled rejection where nobody looks at done', async () => {
    const stray = await strayErrors(async () => {
      new Transfer(() => throwError(() => new Error('nobody looks')))
      watch(new Transfer(() => throwError(() => new Error('seen in completions$'))))
      new Transfer(() => of(), { signal: AbortSignal.abort() })
    })
    expect(stray).to.deep.equal([])
  })

  it('survives a return from an async function, since it is no thenable', async () => {
    const make = async (): Promise<Transfer> => new Transfer(() => of())
    expect(await make()).to.be.instanceOf(Transfer)
  })
})
