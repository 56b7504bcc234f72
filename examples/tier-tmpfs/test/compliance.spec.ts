import { mib } from '@mooncake-ts/core'
import { tierCompliance } from '@mooncake-ts/testkit'
import { tmpfs } from 'mooncake-tier-tmpfs-example'

tierCompliance('tmpfs', { create: () => tmpfs({ dir: '/dev/shm', capacityBytes: mib(16) }) })
