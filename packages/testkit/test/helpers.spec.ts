import { expect } from 'chai'
import { Observable } from 'rxjs'
import { MEMORY, MooncakeError, value, type Completion } from '@mooncake-ts/core'
import { createMemory } from '@mooncake-ts/memory'
import { collect, failureOf, randomBytes, rejectsWith, testHost, until, watch } from '@mooncake-ts/testkit'

describe('until', () => {
  it('waits for a condition to hold, and gives what it gave', async () => {
    let looks = 0
    expect(await until(() => (++looks === 60 ? 'sixty' : undefined))).to.equal('sixty')
    expect(await until(async () => 1)).to.equal(1)
  })

  it('gives up at the deadline, and says on what', async () => {
    const error = await failureOf(until(() => false, { deadlineMs: 20 }))
    expect((error as Error).message).to.equal('Not true within 20 ms: () => false')
  })

  it('hands on what the condition throws', async () => {
    await rejectsWith(
      until(() => {
        throw new MooncakeError('ERR_IO')
      }),
      'ERR_IO',
    )
  })
})

describe('rejectsWith', () => {
  it('gives the error of a promise and of a function', async () => {
    const thrown = new MooncakeError('ERR_IO', 'no disk')
    expect(await rejectsWith(Promise.reject(thrown), 'ERR_IO')).to.equal(thrown)
    const throwing = (): never => {
      throw thrown
    }
    expect(await rejectsWith(throwing, 'ERR_IO')).to.equal(thrown)
  })

  it('fails for a success, for another code and for what is no Error', async () => {
    for (const promise of [
      Promise.resolve(1),
      Promise.reject(new MooncakeError('ERR_INTERNAL')),
      Promise.reject({ code: 'ERR_IO' }),
    ]) {
      const error = await rejectsWith(promise, 'ERR_IO').catch((failed: unknown) => failed)
      expect(error).to.have.property('name', 'AssertionError')
    }
  })
})

describe('randomBytes', () => {
  it('is the same for the same seed, another for another, and a prefix of what is longer', () => {
    expect(randomBytes(101, 7)).to.deep.equal(randomBytes(101, 7))
    expect(randomBytes(101, 7)).to.not.deep.equal(randomBytes(101, 8))
    expect(randomBytes(101, 7)).to.deep.equal(randomBytes(1000, 7).slice(0, 101))
    expect(randomBytes(0, 7)).to.have.lengthOf(0)
  })

  it('has every byte about equally often', () => {
    const counts = new Uint32Array(256)
    for (const byte of randomBytes(256 * 1000, 1)) counts[byte]!++
    expect(Math.min(...counts)).to.be.above(850)
    expect(Math.max(...counts)).to.be.below(1150)
  })
})

describe('watch and collect', () => {
  const completions: Completion[] = [
    { index: 1, bytes: 10 },
    { index: 0, bytes: 20 },
  ]

  it('remember the order of arrival, and give the order of the batch', async () => {
    const stream = (): Observable<Completion> =>
      new Observable(subscriber => {
        for (const completion of completions) subscriber.next(completion)
        subscriber.complete()
      })
    expect(await watch(stream()).ended).to.deep.equal({ completions, failed: false })
    expect((await collect(stream())).map(({ index }) => index)).to.deep.equal([0, 1])
  })

  it('tell the error of a stream, `undefined` too', async () => {
    for (const error of [new Error('whole batch'), undefined]) {
      const stream = new Observable<Completion>(subscriber => {
        subscriber.error(error)
      })
      expect(await watch(stream).ended).to.deep.equal({ completions: [], failed: true, error })
      expect(await failureOf(collect(stream))).to.equal(error)
    }
  })
})

describe('testHost', () => {
  it('brings memory where none of the plugins does', async () => {
    const host = await testHost([])
    host.get(MEMORY).createRegion({ byteLength: 10 }).close()
    await host.stop()
  })

  it('takes the memory that a plugin brings', async () => {
    await using own = createMemory()
    const host = await testHost([value(MEMORY, own)])
    expect(host.get(MEMORY)).to.equal(own)
    await host.stop()
  })
})
