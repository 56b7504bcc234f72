import { MooncakeError, silentLogger } from '@mooncake-ts/core'
import { VirtualClock } from '@mooncake-ts/testkit'
import { expect } from 'chai'
import { Membership } from '../dist/membership/membership.js'
import { SegmentIndex } from '../dist/routes/segment-index.js'
import { DropQueue } from '../dist/service/drop-queue.js'
import type { DropOrder, NodeCaller } from '../dist/service/node-caller.js'
import { nodeInfo } from './support.js'

describe('DropQueue', () => {
  function setUp() {
    const clock = new VirtualClock()
    const ttls = { clientTtlMs: 1e6, clientCrashedTtlMs: 2e6 }
    const members = new Membership(clock, new SegmentIndex(), ttls, { onState: () => {} })
    const orders: DropOrder[] = []
    const caller = {
      failures: 0,
      removeLocal: (_node: unknown, order: DropOrder) => {
        orders.push(order)
        if (caller.failures-- > 0) return Promise.reject(new MooncakeError('ERR_RPC_FAIL'))
        return Promise.resolve(new Uint8Array(order.keys.length))
      },
    }
    const queue = new DropQueue(caller as unknown as NodeCaller, clock, silentLogger)
    return { clock, members, orders, caller, queue, node: members.register(nodeInfo('n')) }
  }

  it('gathers orders, the newest generation of a key, and sends them once', async () => {
    const { clock, orders, queue, node } = setUp()
    queue.add(node, 'a', 3)
    queue.add(node, 'b', 1)
    queue.add(node, 'a', 2)
    await clock.advance(100)
    expect(orders).to.deep.equal([{ keys: ['a', 'b'], generationsMax: [3, 1] }])
    expect(clock.pending).to.equal(0)
  })

  it('tries again later, with what came meanwhile', async () => {
    const { clock, orders, caller, queue, node } = setUp()
    caller.failures = 1
    queue.add(node, 'a', 1)
    await clock.advance(100)
    queue.add(node, 'b', 1)
    await clock.advance(1000)
    expect(orders.map(order => [...order.keys].sort())).to.deep.equal([['a'], ['a', 'b']])
    expect(clock.pending).to.equal(0)
  })

  it('gives up after four attempts, and takes new orders', async () => {
    const { clock, orders, caller, queue, node } = setUp()
    caller.failures = 100
    queue.add(node, 'a', 1)
    await clock.advance(60_000)
    expect(orders).to.have.length(4)
    caller.failures = 0
    queue.add(node, 'b', 1)
    await clock.advance(100)
    expect(orders.at(-1)?.keys).to.deep.equal(['b'])
  })

  it('forgets orders for a node that is gone, and stops when closed', async () => {
    const { clock, members, orders, caller, queue, node } = setUp()
    caller.failures = 100
    queue.add(node, 'a', 1)
    await clock.advance(10)
    members.unregister(node.nodeId, node.epoch)
    queue.add(node, 'b', 1)
    await clock.advance(60_000)
    expect(orders.length).to.be.at.most(2)
    const other = members.register(nodeInfo('m'))
    queue.add(other, 'c', 1)
    queue.close()
    expect(clock.pending).to.equal(0)
  })
})
