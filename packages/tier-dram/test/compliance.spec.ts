import { mib } from '@mooncake-ts/core'
import { allocatorCompliance, tierCompliance } from '@mooncake-ts/testkit'
import { dram, OffsetAllocator } from '@mooncake-ts/tier-dram'

const capacityBytes = mib(16)
tierCompliance('dram', { capacityBytes, create: () => dram({ capacityBytes }) })
tierCompliance('dram with pages', {
  capacityBytes,
  create: () => dram({ capacityBytes, alignmentBytes: 4096 }),
})

allocatorCompliance('OFFSET', { create: bytes => new OffsetAllocator({ capacityBytes: bytes }) })
allocatorCompliance('OFFSET by the byte', {
  create: bytes => new OffsetAllocator({ capacityBytes: bytes, alignmentBytes: 1 }),
})
