import { expect } from 'chai'
import { lastValueFrom, toArray } from 'rxjs'
import {
  BatchesInFlight,
  BatchOperation,
  MooncakeError,
  type Batch,
  type BatchCarrier,
  type Clock,
  type CompletionStream,
  type TransferOp,
} from '@mooncake-ts/core'
import { failure, turn } from './support.js'

const ABORT_GRACE_MS = 50

/** An operation of so many bytes; no more of it is looked at here. */
function opOf(byteLength: number): TransferOp {
  return { local: { byteLength } } as TransferOp
}

/** Runs what waits when the test says so. */
class ManualTimers implements Pick<Clock, 'after'> {
  readonly waiting = new Map<() => void, number>()

  after(delayMs: number, run: () => void): Disposable {
    this.waiting.set(run, delayMs)
    return { [Symbol.dispose]: () => void this.waiting.delete(run) }
  }
}

/** A carrier that moves nothing: operations end when the test ends them. */
class Bench implements BatchCarrier {
  readonly timers = new ManualTimers()
  readonly batches = new BatchesInFlight(this.timers as unknown as Clock, ABORT_GRACE_MS)
  readonly calls: string[] = []
  readonly operations: BatchOperation[] = []
  readonly refusedOf: (op: TransferOp) => MooncakeError | undefined

  constructor(refusedOf: (op: TransferOp) => MooncakeError | undefined = () => undefined) {
    this.refusedOf = refusedOf
  }

  run(ops: readonly TransferOp[], signal = new AbortController().signal): CompletionStream {
    return this.batches.run(ops, signal, () => this)
  }

  queue(batch: Batch, index: number, op: TransferOp): void {
    const refused = this.refusedOf(op)
    if (refused != null) throw refused
    this.calls.push(`queue ${index}`)
    this.operations.push(new BatchOperation(batch, index, op))
  }

  refused(error: MooncakeError): void {
    this.calls.push(`refused ${error.code}`)
  }

  post(): void {
    this.calls.push('post')
  }

  takeBack(): void {
    this.calls.push('takeBack')
  }

  giveUp(): void {
    this.calls.push('giveUp')
  }
}

describe('BatchesInFlight', () => {
  it('asks nobody to carry before somebody subscribes, nor for nothing', async () => {
    const bench = new Bench()
    const stream = bench.run([opOf(1)])
    expect(await lastValueFrom(bench.run([]).pipe(toArray()))).to.deep.equal([])
    expect(bench.calls).to.deep.equal([])
    stream.subscribe()
    expect(bench.calls).to.deep.equal(['queue 0', 'post'])
  })

  it('queues all operations, then posts; each completes once, in the order of their ends', async () => {
    const bench = new Bench()
    const done = lastValueFrom(bench.run([opOf(1), opOf(2)]).pipe(toArray()))
    expect(bench.calls).to.deep.equal(['queue 0', 'queue 1', 'post'])
    bench.operations[1]!.settle()
    bench.operations[0]!.settle(new MooncakeError('ERR_TRANSFER_FAIL'))
    const [second, first] = await done
    expect(second).to.deep.equal({ index: 1, bytes: 2 })
    expect(first).to.deep.include({ index: 0, bytes: 0 })
    expect(first!.error).to.include({ code: 'ERR_TRANSFER_FAIL' })
  })

  it('an operation that cannot be queued completes with its error, and the others go on', async () => {
    const bench = new Bench(op =>
      op.local.byteLength === 13 ? new MooncakeError('ERR_OVERLOADED', 'full') : undefined,
    )
    const done = lastValueFrom(bench.run([opOf(13), opOf(2)]).pipe(toArray()))
    bench.operations[0]!.settle()
    const seen = await done
    expect(seen.map(({ index, error }) => [index, (error as MooncakeError | undefined)?.code])).to.deep.equal(
      [
        [0, 'ERR_OVERLOADED'],
        [1, undefined],
      ],
    )
    expect(bench.calls).to.deep.equal(['refused ERR_OVERLOADED', 'queue 1', 'post'])
  })

  it('an operation in parts ends with its last part, and the first error stands for it', async () => {
    const bench = new Bench()
    const done = lastValueFrom(bench.run([opOf(9)]).pipe(toArray()))
    const operation = bench.operations[0]!
    operation.split(3)
    operation.settle()
    operation.settle(new MooncakeError('ERR_TRANSFER_FAIL', 'first'))
    expect(await Promise.race([done, turn().then(() => 'open')])).to.equal('open')
    operation.settle(new MooncakeError('ERR_TRANSFER_FAIL', 'second'))
    expect((await done)[0]!.error!.message).to.include('first')
  })

  it('an operation that ends twice is a bug, not the end of the others', () => {
    const bench = new Bench()
    const ended: string[] = []
    bench.run([opOf(1), opOf(2)]).subscribe({ complete: () => ended.push('batch') })
    bench.operations[0]!.settle()
    expect(() => {
      bench.operations[0]!.takeBack()
    })
      .to.throw()
      .with.property('code', 'ERR_INTERNAL')
    expect(ended).to.deep.equal([])
  })

  it('tells whom it lends memory to of the rest before the batch', async () => {
    const heard: string[] = []
    const batches = new BatchesInFlight(new ManualTimers() as unknown as Clock, ABORT_GRACE_MS)
    let operation: BatchOperation | undefined
    const carrier: BatchCarrier = {
      queue: (batch, index, op) => {
        operation = new BatchOperation(batch, index, op, error =>
          heard.push(`rest ${error?.message ?? 'well'}`),
        )
      },
      post: () => {},
      takeBack: () => {},
      giveUp: () => {},
    }
    batches
      .run([opOf(1)], new AbortController().signal, () => carrier)
      .subscribe(() => heard.push('completion'))
    operation!.settle()
    expect(heard).to.deep.equal(['rest well', 'completion'])
  })

  describe('abort', () => {
    it('of a batch that was not begun ends it with the reason', async () => {
      const bench = new Bench()
      const reason = new Error('not now')
      const error = await failure(() => lastValueFrom(bench.run([opOf(1)], AbortSignal.abort(reason))))
      expect(error).to.equal(reason)
      expect(bench.calls).to.deep.equal([])
    })

    it('takes back, gives up after the grace, and ends only at rest', async () => {
      const bench = new Bench()
      const abort = new AbortController()
      const reason = new Error('enough')
      const ended = failure(() => lastValueFrom(bench.run([opOf(1), opOf(2)], abort.signal).pipe(toArray())))
      abort.abort(reason)
      bench.operations[0]!.takeBack()
      expect(bench.calls.slice(3)).to.deep.equal(['takeBack'])
      const [[giveUp, delayMs]] = [...bench.timers.waiting] as [[() => void, number]]
      expect(delayMs).to.equal(ABORT_GRACE_MS)
      giveUp()
      expect(bench.calls.slice(3)).to.deep.equal(['takeBack', 'giveUp'])
      expect(await Promise.race([ended, turn().then(() => 'open')])).to.equal('open')
      bench.operations[1]!.settle(new MooncakeError('ERR_TRANSFER_FAIL'))
      expect(await ended).to.equal(reason)
      expect(bench.timers.waiting.size).to.equal(0)
    })

    it('by a completion of the very batch queues nothing more', async () => {
      const bench = new Bench(() => new MooncakeError('ERR_OVERLOADED'))
      const abort = new AbortController()
      const reason = new Error('one error is enough')
      const ended = new Promise(resolve => {
        bench.run([opOf(1), opOf(2), opOf(3)], abort.signal).subscribe({
          next: () => {
            abort.abort(reason)
          },
          error: resolve,
        })
      })
      expect(await ended).to.equal(reason)
      expect(bench.calls.filter(call => call.startsWith('refused'))).to.have.length(1)
    })

    it('after the end does nothing', async () => {
      const bench = new Bench()
      const abort = new AbortController()
      const done = lastValueFrom(bench.run([opOf(1)], abort.signal).pipe(toArray()))
      bench.operations[0]!.settle()
      await done
      abort.abort()
      expect(bench.calls).to.deep.equal(['queue 0', 'post'])
    })
  })

  it('a carrier that fails to post ends the batch with its error, at rest', async () => {
    const bench = new Bench()
    const broken = new Error('the pigeon is ill')
    bench.post = () => {
      throw broken
    }
    const ended = failure(() => lastValueFrom(bench.run([opOf(1), opOf(2)]).pipe(toArray())))
    expect(bench.calls).to.deep.equal(['queue 0', 'queue 1', 'takeBack', 'giveUp'])
    bench.operations[0]!.takeBack()
    expect(await Promise.race([ended, turn().then(() => 'open')])).to.equal('open')
    bench.operations[1]!.settle(new MooncakeError('ERR_TRANSFER_FAIL'))
    expect(await ended).to.equal(broken)
    await bench.batches.idle()
  })

  it('is idle when every batch has ended, whoever watches', async () => {
    const bench = new Bench()
    await bench.batches.idle()
    bench
      .run([opOf(1)])
      .subscribe()
      .unsubscribe()
    const idle = bench.batches.idle()
    expect(await Promise.race([idle, turn().then(() => 'open')])).to.equal('open')
    bench.operations[0]!.settle()
    await idle
  })
})
