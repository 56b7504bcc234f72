import { expect } from 'chai'
import { Membership } from '../dist/membership/membership.js'
import { WriteRouter, type WriteRouterOptions } from '../dist/placement/write-router.js'
import { SegmentIndex } from '../dist/routes/segment-index.js'
import { VirtualClock } from '@mooncake-ts/testkit'
import { MIB, nodeInfo, segmentInfo } from './support.js'

/** Used share of each node's 100 MiB. */
function cluster(used: Readonly<Record<string, number>>, options: WriteRouterOptions = {}) {
  const clock = new VirtualClock()
  const ttls = { clientTtlMs: 10_000, clientCrashedTtlMs: 30_000 }
  const members = new Membership(clock, new SegmentIndex(), ttls, { onState: () => {} })
  clock.every(1000, () => {
    members.check(1000)
  })
  for (const [name, share] of Object.entries(used)) {
    const segment = segmentInfo(`${name}/dram`, { capacityBytes: 100 * MIB, usedBytes: share * 100 * MIB })
    members.register(nodeInfo(name, { nodeId: `id-${name}`, segments: [segment] }))
  }
  return { clock, members, router: new WriteRouter(members, { random: seeded(), ...options }) }
}

/** The same numbers in every run. */
function seeded(): () => number {
  let state = 12_345
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return state / 2 ** 32
  }
}

function request(
  fields: Partial<{ byteLength: number; candidatesMax: number; preferredSegments: string[] }> = {},
) {
  return { key: 'k', byteLength: MIB, candidatesMax: 8, preferredSegments: [], ...fields }
}

function names(candidates: ReadonlyArray<{ readonly node: { readonly name: string } }>): string[] {
  return candidates.map(candidate => candidate.node.name)
}

describe('WriteRouter', () => {
  it('puts the node with more space first', () => {
    const { router } = cluster({ full: 0.9, empty: 0.1 })
    for (let i = 0; i < 20; i++)
      expect(names(router.route(request(), undefined))).to.deep.equal(['empty', 'full'])
    const [best] = router.route(request(), undefined)
    expect(best?.score).to.be.closeTo(0.9 * 0.5, 1e-9)
    expect(best?.availableBytes).to.equal(90 * MIB)
  })

  it('puts preferred nodes and segments first, in their order, whatever their load', () => {
    const { router } = cluster({ a: 0.1, b: 0.95, c: 0.99, d: 0.2 })
    const preferredSegments = ['c/dram', 'nobody', 'b']
    const candidates = names(router.route(request({ preferredSegments, candidatesMax: 3 }), undefined))
    expect(candidates.slice(0, 2)).to.deep.equal(['c', 'b'])
    expect(candidates).to.have.length(3)
  })

  it('weighs the writer against the others', () => {
    const near = cluster({ own: 0.4, other: 0.1 }, { remoteWeight: 0.2 })
    expect(names(near.router.route(request(), 'id-own'))[0]).to.equal('own')
    const far = cluster({ own: 0.1, other: 0.4 }, { remoteWeight: 0.9 })
    expect(names(far.router.route(request(), 'id-own'))[0]).to.equal('other')
  })

  it('keeps full nodes, since eviction makes room, and leaves out those whose capacity does not fit', () => {
    const { router } = cluster({ full: 1 })
    expect(names(router.route(request({ byteLength: 100 * MIB }), undefined))).to.deep.equal(['full'])
    expect(router.route(request({ byteLength: 100 * MIB }), undefined)[0]?.availableBytes).to.equal(0)
    expect(router.route(request({ byteLength: 100 * MIB + 1 }), undefined)).to.deep.equal([])
  })

  it('leaves out silent nodes and pure clients', async () => {
    const { clock, members, router } = cluster({ a: 0, b: 0 })
    const { rpcEndpoint: _, ...client } = nodeInfo('client', { segments: [] })
    members.register(client)
    await clock.advance(10_000)
    const b = members.byName('b')!
    members.beat(b.nodeId, b.epoch, [b.segments.get('b/dram')!.info])
    expect(names(router.route(request(), undefined))).to.deep.equal(['b'])
  })

  it('shares the load of equal nodes, also within one batch', () => {
    const { router } = cluster({ a: 0.5, b: 0.5, c: 0.5, d: 0.5 })
    const firsts = new Map<string, number>()
    for (let i = 0; i < 400; i++) {
      const candidates = router.route(request({ byteLength: 1024, candidatesMax: 2 }), undefined)
      router.book(candidates, 1024)
      const [first] = names(candidates)
      firsts.set(first!, (firsts.get(first!) ?? 0) + 1)
    }
    for (const share of firsts.values()) expect(share).to.be.within(80, 120)
  })

  it('counts what it routed until the next heartbeat', () => {
    const { members, router } = cluster({ a: 0.5, b: 0.52 })
    const first = router.route(request({ byteLength: 10 * MIB }), undefined)
    expect(names(first)).to.deep.equal(['a', 'b'])
    router.book(first, 10 * MIB)
    expect(names(router.route(request(), undefined))).to.deep.equal(['b', 'a'])
    const a = members.byName('a')!
    members.beat(a.nodeId, a.epoch, [a.segments.get('a/dram')!.info])
    expect(names(router.route(request(), undefined))).to.deep.equal(['a', 'b'])
  })

  it('gives a new, empty node no more than two shares', () => {
    const { router } = cluster({ new: 0, a: 0.9, b: 0.9, c: 0.9, d: 0.9, e: 0.9, f: 0.9, g: 0.9 })
    let toNew = 0
    for (let i = 0; i < 4000; i++) {
      if (names(router.route(request({ candidatesMax: 1 }), undefined))[0] === 'new') toNew++
    }
    expect(toNew / 4000).to.be.within(0.2, 0.3)
  })

  it('names every node once, and no more than wanted', () => {
    const { router } = cluster({ a: 0, b: 0, c: 0 })
    expect(names(router.route(request(), undefined))).to.have.members(['a', 'b', 'c'])
    expect(router.route(request({ candidatesMax: 2 }), undefined)).to.have.length(2)
    expect(router.route(request({ candidatesMax: 0, preferredSegments: ['a'] }), undefined)).to.have.length(0)
  })
})
