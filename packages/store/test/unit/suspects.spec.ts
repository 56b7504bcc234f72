import { MooncakeError } from '@mooncake-ts/core'
import { VirtualClock } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { Suspects } from '../../dist/routes/suspects.js'

const nodes = ['a', 'b', 'c'].map(nodeId => ({ nodeId }))
const order = (suspects: Suspects): string =>
  suspects
    .last(nodes)
    .map(node => node.nodeId)
    .join('')

describe('Suspects', () => {
  it('puts nodes that failed last, until they answer or some time has passed', async () => {
    const clock = new VirtualClock()
    const suspects = new Suspects(clock)
    expect(order(suspects)).to.equal('abc')
    suspects.failed('a', new MooncakeError('ERR_RPC_FAIL'))
    suspects.failed('b', new MooncakeError('ERR_RPC_TIMEOUT'))
    expect(order(suspects)).to.equal('cab')
    suspects.answered('b')
    expect(order(suspects)).to.equal('bca')
    await clock.advance(5000)
    expect(order(suspects)).to.equal('abc')
  })

  it('does not hold against a node what was wrong with the question, or with us', () => {
    const suspects = new Suspects(new VirtualClock())
    for (const code of ['ERR_OBJECT_NOT_FOUND', 'ERR_NO_AVAILABLE_HANDLE', 'ERR_OVERLOADED'] as const) {
      suspects.failed('a', new MooncakeError(code))
    }
    suspects.failed('a', new Error('the caller gave up'))
    expect(suspects.has('a')).to.equal(false)
  })
})
