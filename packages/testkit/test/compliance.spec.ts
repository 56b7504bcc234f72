import { mib } from '@mooncake-ts/core'
import {
  allocatorCompliance,
  inProcess,
  InProcessNetwork,
  tierCompliance,
  transportCompliance,
} from '@mooncake-ts/testkit'
import { FirstFit } from './fixtures/first-fit.js'
import { mapTier, type Disk } from './fixtures/map-tier.js'

const network = new InProcessNetwork()
transportCompliance('in-process', { create: () => inProcess({ network }) })

const slowNetwork = new InProcessNetwork({ latencyMs: 1 })
transportCompliance('in-process with latency', {
  create: () => inProcess({ network: slowNetwork }),
  largeBytes: mib(1),
})

let disk: Disk
tierCompliance('a tier that keeps everything', {
  create: () => mapTier({ disk: (disk = new Map()), capacityBytes: mib(16) }),
  reopen: () => mapTier({ disk, capacityBytes: mib(16) }),
})
