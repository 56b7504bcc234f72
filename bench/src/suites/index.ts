import type { Suite } from '../harness/suite.js'
import { masterSuite } from './master.js'
import { rdmaSuite } from './rdma.js'
import { replaySuite } from './replay.js'
import { rivalsSuite } from './rivals.js'
import { rpcSuite } from './rpc.js'
import { shmSuite } from './shm.js'
import { smallSuite } from './small.js'
import { ssdSuite } from './ssd.js'
import { tcpSuite } from './tcp.js'

/** In the order in which they run. */
export const SUITES: readonly Suite[] = [
  tcpSuite,
  shmSuite,
  smallSuite,
  rpcSuite,
  masterSuite,
  ssdSuite,
  rdmaSuite,
  replaySuite,
  rivalsSuite,
]
