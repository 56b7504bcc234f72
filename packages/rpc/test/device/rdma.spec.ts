import { rpc } from '@mooncake-ts/rpc'
import { rpcCompliance } from '@mooncake-ts/testkit'
import { rpcOverRdma } from '@mooncake-ts/transport-rdma'
import { rpcSuites } from '../suites/index.js'
import { carriedBy } from '../support.js'

/** On a host with one device that is both ends; in the virtual machine each end has its own. */
const inGuest = process.env.MOONCAKE_RDMA_GUEST === '1'
const overRdma = (role: 'server' | 'client') =>
  rpcOverRdma(inGuest ? { deviceNames: [role === 'server' ? 'rxe1' : 'rxe0'] } : {})

rpcCompliance('rpc over RDMA', {
  create: role => rpc({ listen: role === 'server' ? ['127.0.0.1:0'] : [], drainMs: 500 }),
  carrier: overRdma,
})

describe('over RDMA', function () {
  this.timeout(60_000)
  carriedBy(overRdma)
  rpcSuites()
})
