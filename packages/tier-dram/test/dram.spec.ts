import { mib } from '@mooncake-ts/core'
import { tierCompliance } from '@mooncake-ts/testkit'
import { dram } from '@mooncake-ts/tier-dram'

tierCompliance('dram', { capacityBytes: mib(16), create: () => dram({ capacityBytes: mib(16) }) })
