import { expect } from 'chai'
import {
  gib,
  Host,
  MEMORY,
  mib,
  MooncakeError,
  TIER,
  tib,
  value,
  type MemoryProvider,
} from '@mooncake-ts/core'
import { createMemory } from '@mooncake-ts/memory'
import { rejectsWith, testHost } from '@mooncake-ts/testkit'
import { dram, OffsetAllocator, type DramOptions } from '@mooncake-ts/tier-dram'

describe('dram', () => {
  it('has the defaults of the fastest tier', async () => {
    const host = await testHost([dram({ capacityBytes: mib(1) })])
    const tier = host.get(TIER)
    expect(tier).to.include({
      name: 'dram-0',
      kind: 'DRAM',
      priority: 100,
      capacityBytes: mib(1),
      usedBytes: 0,
    })
    expect(tier.tags).to.deep.equal([])
    expect(tier.supports).to.deep.equal({ directMemory: true, persistence: false, partialRead: true })
    await host.stop()
  })

  it('takes name, priority and tags', async () => {
    const options = { name: 'fast', priority: 7, tags: ['numa-1'] }
    const host = await testHost([dram({ capacityBytes: mib(1), ...options })])
    expect(host.get(TIER)).to.deep.include(options)
    await host.stop()
  })

  it('refuses options that make no sense where they are typed', async () => {
    const wrong: DramOptions[] = [
      { capacityBytes: 0 },
      { capacityBytes: 0.5 },
      { capacityBytes: mib(1), name: '' },
      { capacityBytes: mib(1), priority: Number.NaN },
      { capacityBytes: mib(1), alignmentBytes: 100 },
      { capacityBytes: mib(1), allocator: 'SLAB' as 'OFFSET' },
    ]
    for (const options of wrong) await rejectsWith(() => dram(options), 'ERR_INVALID_PARAMS')
  })

  it('places values with an allocator of yours', async () => {
    let made: OffsetAllocator | undefined
    const allocator = (capacityBytes: number): OffsetAllocator =>
      (made = new OffsetAllocator({ capacityBytes, alignmentBytes: 512 }))
    const host = await testHost([dram({ capacityBytes: mib(1), allocator })])
    const tier = host.get(TIER)
    tier.allocate(1)
    expect(tier.allocate(1)!.slice!.offset).to.equal(512)
    expect([made!.count, tier.usedBytes]).to.deep.equal([2, 1024])
    await host.stop()
  })

  it('puts offsets where devices with direct I/O want them, when told so', async () => {
    const host = await testHost([dram({ capacityBytes: mib(1), alignmentBytes: 4096 })])
    const tier = host.get(TIER)
    const offsets = [1, 4096, 4097, 10].map(byteLength => tier.allocate(byteLength)!.slice!.offset)
    expect(offsets).to.deep.equal([0, 4096, 8192, 16_384])
    await host.stop()
  })

  it('has no room before it has started and after it has stopped, and closes its Region then', async () => {
    const host = new Host([value(MEMORY, createMemory()), dram({ capacityBytes: mib(1) })])
    const tier = host.get(TIER)
    expect(tier.allocate(10)).to.equal(undefined)
    await host.start()
    const allocation = tier.allocate(10)!
    await host.stop()
    expect(allocation.slice!.region.closed).to.equal(true)
    expect(tier.allocate(10)).to.equal(undefined)
    await tier.free(allocation)
    expect(tier.usedBytes).to.equal(0)
  })

  it('refuses to free twice', async () => {
    const host = await testHost([dram({ capacityBytes: mib(1) })])
    const tier = host.get(TIER)
    const allocation = tier.allocate(10)!
    await tier.free(allocation)
    await rejectsWith(() => tier.free(allocation), 'ERR_INVALID_PARAMS')
    await host.stop()
  })

  it('says how much it wanted when the system has no memory for it', async () => {
    const refusing = {
      createRegion: () => {
        throw new MooncakeError('ERR_OUT_OF_MEMORY', 'mmap: Cannot allocate memory')
      },
    } as unknown as MemoryProvider
    const starting = new Host([value(MEMORY, refusing), dram({ capacityBytes: gib(64) })]).start()
    const error = await rejectsWith(starting, 'ERR_PLUGIN_START')
    expect(error.cause).to.have.property('code', 'ERR_OUT_OF_MEMORY')
    expect(error.message).to.include(
      'dram-0 could not get its 64.0 GiB of memory: mmap: Cannot allocate memory',
    )
  })

  it('hears of it from the real system, too', async () => {
    const error = await rejectsWith(testHost([dram({ capacityBytes: tib(200) })]), 'ERR_PLUGIN_START')
    expect(error.message).to.include('dram-0 could not get its 200.0 TiB of memory')
  })
})
