import { mib } from '@mooncake-ts/core'
import { transportCompliance } from '@mooncake-ts/testkit'
import { rdma } from '@mooncake-ts/transport-rdma'
import { inGuest } from './support.js'

// In the virtual machine the ends take turns, so that each pair talks over the wire between its two devices.
const names = ['rxe0', 'rxe1']
let next = 0

transportCompliance('transport-rdma', {
  create: () => rdma(inGuest ? { deviceNames: [names[next++ % names.length]!] } : {}),
  largeBytes: mib(8),
  teardown: () => {
    next = 0
  },
})
