import { expect } from 'chai'
import type { BatchPlace, EvictionPolicyFactory } from '@mooncake-ts/core'
import { lru } from '@mooncake-ts/store'
import { TestCluster, WAYS } from './support.js'

/** LRU of a third party, which writes down what it was told. */
function recording(told: Map<string, BatchPlace | undefined>): EvictionPolicyFactory {
  return {
    name: 'recording',
    create: scope => {
      const inner = lru().create(scope)
      const insert: typeof inner.insert = (slot, entry, place) => {
        told.set(entry.key, place)
        inner.insert(slot, entry, place)
      }
      return new Proxy(inner, {
        get: (target, name: keyof typeof inner) => (name === 'insert' ? insert : target[name].bind(target)),
      })
    },
  }
}

for (const { way, options } of WAYS) {
  it(`a policy knows the place of an object among those that were put together, moved ${way}`, async () => {
    const told = new Map<string, BatchPlace | undefined>()
    await using cluster = await TestCluster.start()
    const owner = await cluster.node('owner', { ...options, evictionPolicy: recording(told) })
    const client = await cluster.client('client', options)
    const value = new Uint8Array(1000)
    await client.putMany(['r0', 'r1', 'r2'].map(key => ({ key, value }))).done
    await owner.putMany(['l0', 'l1'].map(key => ({ key, value }))).done
    await client.put('alone', value)
    expect(Object.fromEntries(told)).to.deep.equal({
      r0: { index: 0, count: 3 },
      r1: { index: 1, count: 3 },
      r2: { index: 2, count: 3 },
      l0: { index: 0, count: 2 },
      l1: { index: 1, count: 2 },
      alone: undefined,
    })
  })
}
