import { expect } from 'chai'
import { Membership } from '../dist/membership/membership.js'
import { DEAD, HIDDEN, SegmentIndex, VISIBLE } from '../dist/routes/segment-index.js'
import { VirtualClock } from '@mooncake-ts/testkit'
import { failure, nodeInfo, segmentInfo } from './support.js'

const HEARTBEAT_MS = 1000

function setUp() {
  const clock = new VirtualClock()
  const index = new SegmentIndex()
  const log: string[] = []
  const options = { clientTtlMs: 10_000, clientCrashedTtlMs: 30_000 }
  const members = new Membership(clock, index, options, {
    onState: (node, from) => log.push(`${node.name}: ${from ?? 'new'} → ${node.state}`),
  })
  const checking = clock.every(HEARTBEAT_MS, () => {
    members.check(HEARTBEAT_MS)
  })
  return { checking, clock, index, log, members }
}

function failing(run: () => unknown): Promise<string> {
  return failure(new Promise(resolve => resolve(run())))
}

describe('Membership', () => {
  it('goes from health to disconnection to crash by silence', async () => {
    const { clock, index, log, members } = setUp()
    const node = members.register(nodeInfo('n'))
    const { number } = node.segments.get('n/dram')!
    await clock.advance(9999)
    expect(node.state).to.equal('HEALTH')
    expect(index.states[number]).to.equal(VISIBLE)
    await clock.advance(1)
    expect(node.state).to.equal('DISCONNECTION')
    expect(index.states[number]).to.equal(HIDDEN)
    expect(members.byName('n')).to.equal(node)
    await clock.advance(19_999)
    expect(node.state).to.equal('DISCONNECTION')
    await clock.advance(1)
    expect(node.state).to.equal('CRASHED')
    expect(index.states[number]).to.equal(DEAD)
    expect(members.size).to.equal(0)
    expect(members.segmentByName('n/dram')).to.equal(undefined)
    expect(log).to.deep.equal(['n: new → HEALTH', 'n: HEALTH → DISCONNECTION', 'n: DISCONNECTION → CRASHED'])
  })

  it('is healthy again at the first heartbeat', async () => {
    const { clock, index, members } = setUp()
    const node = members.register(nodeInfo('n'))
    await clock.advance(15_000)
    expect(node.state).to.equal('DISCONNECTION')
    members.beat(node.nodeId, node.epoch, [segmentInfo('n/dram', { usedBytes: 5 })])
    expect(node.state).to.equal('HEALTH')
    expect(index.states[node.segments.get('n/dram')!.number]).to.equal(VISIBLE)
    expect(node.usage.usedBytes).to.equal(5)
    await clock.advance(9000)
    expect(node.state).to.equal('HEALTH')
  })

  it('tells a crashed or unknown node, and an earlier life, to register', async () => {
    const { clock, members } = setUp()
    const info = nodeInfo('n')
    const first = members.register(info)
    expect(await failing(() => members.beat('nobody', 1, []))).to.equal('ERR_CLIENT_NOT_FOUND')
    const second = members.register(info)
    expect(await failing(() => members.beat(info.nodeId, first.epoch, []))).to.equal('ERR_CLIENT_NOT_FOUND')
    members.beat(info.nodeId, second.epoch, info.segments)
    await clock.advance(30_000)
    expect(await failing(() => members.beat(info.nodeId, second.epoch, []))).to.equal('ERR_CLIENT_NOT_FOUND')
  })

  it('replaces the former life of a name at once, and its process cannot take the name back', async () => {
    const { index, members } = setUp()
    const formerInfo = nodeInfo('n')
    const former = members.register(formerInfo)
    const { number } = former.segments.get('n/dram')!
    const heir = members.register(nodeInfo('n'))
    expect(former.state).to.equal('CRASHED')
    expect(index.states[number]).to.equal(DEAD)
    expect(members.byName('n')).to.equal(heir)
    expect(await failing(() => members.register(formerInfo))).to.equal('ERR_INVALID_PARAMS')
    members.unregister(heir.nodeId, heir.epoch)
    expect(members.register(formerInfo).state).to.equal('HEALTH', 'the name is free again')
  })

  it('follows the segments of the heartbeat', () => {
    const { index, members } = setUp()
    const node = members.register(nodeInfo('n'))
    const { number } = node.segments.get('n/dram')!
    members.beat(node.nodeId, node.epoch, [segmentInfo('n/ssd', { capacityBytes: 7 })])
    expect([...node.segments.keys()]).to.deep.equal(['n/ssd'])
    expect(index.states[number]).to.equal(DEAD)
    expect(node.usage).to.deep.equal({ capacityBytes: 7, usedBytes: 0, largestSegmentBytes: 7 })
  })

  it('refuses segments that nobody could reach or that another node has', async () => {
    const { members } = setUp()
    members.register(nodeInfo('n'))
    const { rpcEndpoint: _, ...unreachable } = nodeInfo('m')
    expect(await failing(() => members.register(unreachable))).to.equal('ERR_INVALID_PARAMS')
    const thief = nodeInfo('m', { segments: [segmentInfo('n/dram')] })
    expect(await failing(() => members.register(thief))).to.equal('ERR_INVALID_PARAMS')
    expect(members.size).to.equal(1)
  })

  it('blames nobody for the time that the master slept', async () => {
    const { clock, checking, members } = setUp()
    const node = members.register(nodeInfo('n'))
    await clock.advance(5000)
    checking[Symbol.dispose]()
    await clock.advance(60_000)
    members.check(HEARTBEAT_MS)
    expect(node.state).to.equal('HEALTH')
    clock.every(HEARTBEAT_MS, () => {
      members.check(HEARTBEAT_MS)
    })
    await clock.advance(10_000)
    expect(node.state).to.equal('DISCONNECTION', 'it really is silent')
  })
})
