import { mib } from '@mooncake-ts/core'
import { transportCompliance } from '@mooncake-ts/testkit'
import { rdma } from '@mooncake-ts/transport-rdma'

// The ends take turns, so that each pair talks over the wire between the two devices.
const names = ['rxe0', 'rxe1']
let next = 0

transportCompliance('transport-rdma', {
  create: () => rdma({ deviceNames: [names[next++ % names.length]!] }),
  largeBytes: mib(8),
  teardown: () => {
    next = 0
  },
})
