import { mib } from '@mooncake-ts/core'
import {
  inProcess,
  InProcessNetwork,
  randomUint32,
  tierCompliance,
  transportCompliance,
} from '@mooncake-ts/testkit'
import { mapTier, type Disk } from './fixtures/map-tier.js'

const network = new InProcessNetwork()
transportCompliance('in-process', { create: () => inProcess({ network }) })

const latency = randomUint32(1)
const slowNetwork = new InProcessNetwork({ latencyMs: () => latency() % 4 })
transportCompliance('in-process with latency', {
  create: () => inProcess({ network: slowNetwork }),
  largeBytes: mib(1),
})

let disk: Disk
tierCompliance('a tier that keeps everything', {
  create: () => mapTier({ disk: (disk = new Map()), capacityBytes: mib(16) }),
  reopen: () => mapTier({ disk, capacityBytes: mib(16) }),
})
