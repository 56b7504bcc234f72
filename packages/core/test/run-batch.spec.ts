import { expect } from 'chai'
import { lastValueFrom, toArray } from 'rxjs'
import { MooncakeError, runBatch, type Completion } from '@mooncake-ts/core'
import { Deferred, failure, strayErrors, turn } from './support.js'

const never = new AbortController().signal

function collect(stream: ReturnType<typeof runBatch>): Promise<Completion[]> {
  return lastValueFrom(stream.pipe(toArray()))
}

/** Operations that end when the test says so. */
class Gate {
  readonly started: number[] = []
  readonly #open = new Map<number, Deferred<number>>()

  readonly run = (op: number): Promise<number> => {
    this.started.push(op)
    const gate = new Deferred<number>()
    this.#open.set(op, gate)
    return gate.promise
  }

  async end(op: number, bytes = op): Promise<void> {
    this.#open.get(op)!.resolve(bytes)
    await turn()
  }

  async fail(op: number, reason: unknown): Promise<void> {
    this.#open.get(op)!.reject(reason)
    await turn()
  }
}

describe('runBatch', () => {
  it('gives one completion for each operation, with its position', async () => {
    const seen = await collect(
      runBatch(['a', 'bb', 'ccc'], { signal: never, concurrencyMax: 2 }, async op => op.length),
    )
    expect(seen).to.have.deep.members([
      { index: 0, bytes: 1 },
      { index: 1, bytes: 2 },
      { index: 2, bytes: 3 },
    ])
  })

  it('completes an empty batch', async () => {
    expect(await collect(runBatch([], { signal: never, concurrencyMax: 1 }, async () => 0))).to.deep.equal([])
  })

  it('runs nothing before somebody subscribes', async () => {
    let ran = 0
    runBatch([1], { signal: never, concurrencyMax: 1 }, async () => ++ran)
    await turn()
    expect(ran).to.equal(0)
  })

  it('never runs more at a time than it may, and reports in the order of the ends', async () => {
    const gate = new Gate()
    const done = collect(runBatch([1, 2, 3, 4], { signal: never, concurrencyMax: 2 }, gate.run))
    expect(gate.started).to.deep.equal([1, 2])
    await gate.end(2)
    expect(gate.started).to.deep.equal([1, 2, 3])
    await gate.end(3)
    await gate.end(1)
    await gate.end(4)
    expect((await done).map(completion => completion.index)).to.deep.equal([1, 2, 0, 3])
  })

  it('reports a failed operation as a completion with a code, and goes on', async () => {
    const seen = await collect(
      runBatch([1, 2, 3], { signal: never, concurrencyMax: 1 }, async op => {
        if (op === 1) throw new Error('disk on fire')
        if (op === 2) throw new MooncakeError('ERR_CHECKSUM_MISMATCH')
        return op
      }),
    )
    expect(seen.map(completion => (completion.error as MooncakeError | undefined)?.code)).to.deep.equal([
      'ERR_IO',
      'ERR_CHECKSUM_MISMATCH',
      undefined,
    ])
    expect(seen.map(completion => completion.bytes)).to.deep.equal([0, 0, 3])
    expect(seen[0]!.error!.message).to.equal('disk on fire')
  })

  it('takes a function that throws synchronously for a failed operation', async () => {
    const stray = await strayErrors(async () => {
      const seen = await collect(
        runBatch([1, 2], { signal: never, concurrencyMax: 2 }, op => {
          if (op === 1) throw new Error('at once')
          return Promise.resolve(op)
        }),
      )
      expect(seen).to.have.length(2)
      expect(seen.find(completion => completion.index === 0)!.error!.message).to.equal('at once')
    })
    expect(stray).to.deep.equal([])
  })

  it('starts nothing when the signal has aborted before', async () => {
    const reason = new Error('too late')
    const gate = new Gate()
    const signal = AbortSignal.abort(reason)
    expect(await failure(() => collect(runBatch([1], { signal, concurrencyMax: 1 }, gate.run)))).to.equal(
      reason,
    )
    expect(gate.started).to.deep.equal([])
  })

  it('on abort starts nothing more, and ends when the last running operation has', async () => {
    const gate = new Gate()
    const controller = new AbortController()
    const reason = new Error('stop')
    const seen: Completion[] = []
    let end: unknown
    runBatch([1, 2, 3], { signal: controller.signal, concurrencyMax: 2 }, gate.run).subscribe({
      next: completion => seen.push(completion),
      error: (error: unknown) => (end = error),
      complete: () => (end = 'complete'),
    })
    controller.abort(reason)
    await gate.end(1)
    expect(end).to.equal(undefined)
    await gate.end(2)
    expect(end).to.equal(reason)
    expect(seen.map(completion => completion.index)).to.deep.equal([0, 1])
    expect(gate.started).to.deep.equal([1, 2])
  })

  it('ends with the reason also when the abort hits the last running operations', async () => {
    const gate = new Gate()
    const controller = new AbortController()
    const reason = new Error('stop')
    const done = failure(() =>
      collect(runBatch([1, 2], { signal: controller.signal, concurrencyMax: 2 }, gate.run)),
    )
    await gate.end(1)
    controller.abort(reason)
    await gate.fail(2, reason)
    expect(await done).to.equal(reason)
  })

  it('completes when everything succeeded in spite of the abort', async () => {
    const gate = new Gate()
    const controller = new AbortController()
    const done = collect(runBatch([1, 2], { signal: controller.signal, concurrencyMax: 2 }, gate.run))
    controller.abort()
    await gate.end(1)
    await gate.end(2)
    expect(await done).to.have.length(2)
  })

  it('gives every operation the signal of the batch', async () => {
    const signals = new Set<AbortSignal>()
    const run = async (_op: number, signal: AbortSignal): Promise<number> => signals.add(signal).size
    await collect(runBatch([1, 2], { signal: never, concurrencyMax: 2 }, run))
    expect([...signals]).to.deep.equal([never])
  })

  it('refuses a concurrency with which nothing would run', () => {
    for (const concurrencyMax of [0, -1, Number.NaN]) {
      expect(() => runBatch([1], { signal: never, concurrencyMax }, async () => 1)).to.throw(RangeError)
    }
  })
})
