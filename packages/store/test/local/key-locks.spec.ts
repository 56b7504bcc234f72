import { expect } from 'chai'
import fc from 'fast-check'
import { KeyLocks } from '../../dist/local/key-locks.js'
import { settled, thrownCode } from './support/harness.js'

interface Gate {
  readonly promise: Promise<void>
  readonly open: () => void
}

function gate(): Gate {
  let open!: () => void
  const promise = new Promise<void>(resolve => {
    open = resolve
  })
  return { promise, open }
}

describe('KeyLocks', () => {
  it('gives a plain value back without a promise when nobody holds the key', () => {
    const locks = new KeyLocks(1)
    expect(locks.lock('a', () => 1)).to.equal(1)
    expect(
      locks.lock('b', () => 2),
      'the stripe is free again',
    ).to.equal(2)
  })

  it('frees the stripe after a throw and after a rejection', async () => {
    const locks = new KeyLocks(1)
    expect(() =>
      locks.lock('a', () => {
        throw new Error('no')
      }),
    ).to.throw('no')
    await Promise.resolve(locks.lock('a', () => Promise.reject(new Error('later')))).catch(() => {})
    expect(locks.lock('a', () => 1)).to.equal(1)
  })

  it('runs holders of one key one after another, first in first out', async () => {
    const locks = new KeyLocks(64)
    const gates = [gate(), gate(), gate()]
    const order: string[] = []
    const runs = gates.map(({ promise }, i) =>
      locks.lock('key', async () => {
        order.push(`begin ${i}`)
        await promise
        order.push(`end ${i}`)
      }),
    )
    gates[2]!.open()
    gates[1]!.open()
    await settled()
    expect(order).to.deep.equal(['begin 0'])
    gates[0]!.open()
    await Promise.all(runs.map(run => Promise.resolve(run)))
    expect(order).to.deep.equal(['begin 0', 'end 0', 'begin 1', 'end 1', 'begin 2', 'end 2'])
  })

  it('never runs two holders of a key at once, and never stands still, for any mix of keys', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...'abcdefgh'), { maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        async (keys, stripes) => {
          const locks = new KeyLocks(stripes)
          const held = new Set<string>()
          let ran = 0
          await Promise.all(
            keys.map(async key => {
              await locks.lock(key, async () => {
                if (held.has(key)) throw new Error(`Two hold ${key}`)
                held.add(key)
                await Promise.resolve()
                held.delete(key)
                ran++
              })
            }),
          )
          expect(ran).to.equal(keys.length)
          expect(keys.some(key => locks.isHeld(key))).to.equal(false)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('refuses a number of stripes that is none', () => {
    expect(thrownCode(() => new KeyLocks(0))).to.equal('ERR_INVALID_PARAMS')
  })
})
