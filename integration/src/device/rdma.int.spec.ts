import { once } from 'node:events'
import { KIB, MIB, type Plugin, type Transport } from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { rejectsWith, until } from '@mooncake-ts/testkit'
import { rdma } from '@mooncake-ts/transport-rdma'
import { tcp } from '@mooncake-ts/transport-tcp'
import { expect } from 'chai'
import { Cluster, type DataNode } from '../support/cluster.js'
import { runProgram } from '../support/programs.js'
import {
  addDevice,
  inGuest,
  LINKS,
  packetsSent,
  rdmaDevices,
  rdmaResources,
  removeDevice,
  setLink,
  type RdmaResources,
} from '../support/rdma-devices.js'
import { Traffic } from '../support/traffic.js'
import { keysOf, valueOf } from '../support/values.js'

const OK = /^OK replayed 12 requests, \d+ blocks, hit ratio 0\.\d{4}, [1-9]\d* bytes verified, 0 mismatches$/
/** Not less: where everything is emulated, a heartbeat may be seconds late. */
const QUICK = ['--client_ttl=5', '--client_crashed_ttl=8']
const SIZE = 256 * KIB
const CAPACITY = 64 * MIB
/** What RoCE carries in a packet on a wire with jumbo frames. */
const PACKET_BYTES = 4096
const DEADLINE_MS = 20_000
const UNTIL = { deadlineMs: 40_000 }

const onlyTcp = () => [tcp({ listen: '127.0.0.1:0' })]
const onlyRdma = () => [rdma({})]
const both = () => [rdma({ devicePauseMs: 500 }), tcp({ listen: '127.0.0.1:0' })]

/** One cluster for all of them: to start a node takes half a minute there. So their order matters. */
describe('a cluster over RDMA', function () {
  this.timeout(150_000)
  let idle: RdmaResources[]
  let cluster: Cluster | undefined
  let victim: DataNode
  const stores: Store[] = []

  before(
    'needs the virtual machine, whose devices are ours to break: npm run test:rdma -- --vm',
    async function () {
      if (!inGuest) this.skip()
      idle = rdmaResources()
      cluster = await Cluster.start({ masterArgs: QUICK })
      const start = (name: string, transport: string): Promise<DataNode> =>
        cluster!.startNode(name, { capacityBytes: CAPACITY, args: [`--transport=${transport}`] })
      ;[, , victim] = await Promise.all([start('both', 'rdma'), start('tcp', 'tcp'), start('victim', 'rdma')])
    },
  )

  afterEach(async () => {
    await Promise.all(stores.splice(0).map(store => store.close()))
    // Whoever ended, and however: no queue pair outlives its user.
    const pairs = (of: RdmaResources[]): string => JSON.stringify(of.map(({ ifname, qp }) => [ifname, qp]))
    await until(() => pairs(rdmaResources()) === pairs(idle), UNTIL)
  })

  after(async () => {
    await cluster?.[Symbol.asyncDispose]()
    if (cluster != null) expect(rdmaResources(), 'left in the kernel').to.deep.equal(idle)
  })

  async function connect(name: string, transports: Plugin<Transport>[]): Promise<Store> {
    const limits = { inlineBytesMax: 0 } // Or a value of this size would travel in the answer.
    const store = await cluster!.connect(name, limits, undefined, transports)
    stores.push(store)
    return store
  }

  async function putAll(store: Store, keys: readonly string[], replicate: object): Promise<void> {
    const entries = keys.map(key => ({ key, value: valueOf(key, SIZE) }))
    const { failed } = await store.putMany(entries, { replicate, deadlineMs: DEADLINE_MS }).done
    expect(failed, 'failed puts').to.equal(0)
  }

  async function expectAll(store: Store, keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const value = await store.get(key, { deadlineMs: DEADLINE_MS })
      expect(value != null && valueOf(key, SIZE).equals(value), `${key} has its bytes`).to.equal(true)
    }
  }

  /** What all devices send while `work` runs. */
  async function packetsDuring(work: () => Promise<void>): Promise<number[]> {
    const devices = rdmaDevices()
    const before = devices.map(packetsSent)
    await work()
    return devices.map((device, index) => packetsSent(device) - before[index]!)
  }

  it('replays: master, nodes and driver are processes of their own, and every byte is verified', async () => {
    const target = ['--host=127.0.0.1', `--master_server_address=${cluster!.masterEndpoint}`]
    const args = ['replay', '--transport=rdma', '--requests=12', '--bytes-per-token=32', ...target]
    const packets = await packetsDuring(async () => {
      const { code, stdout, stderr } = await runProgram('mooncake', args, { timeoutMs: 100_000 })
      expect(code, stderr).to.equal(0)
      expect(stdout.toString().trimEnd().split('\n').at(-1)).to.match(OK)
    })
    for (const sent of packets) expect(sent, 'packets of each device').to.be.above(100)
  })

  it('mixes ends: each pair talks over what both have, and says what is missing where they share nothing', async () => {
    const [any, overTcp, overRdma] = await Promise.all([
      connect('any', both()),
      connect('over-tcp', onlyTcp()),
      connect('over-rdma', onlyRdma()),
    ])
    const [onTcp, onBoth] = [keysOf('on-tcp', 3), keysOf('on-both', 3)]
    await putAll(any, onTcp, { preferredSegments: ['tcp'] })
    await putAll(any, onBoth, { preferredSegments: ['both'] })
    const packets = await packetsDuring(() => expectAll(any, onBoth))
    expect(Math.max(...packets), 'RDMA is preferred').to.be.above((onBoth.length * SIZE) / PACKET_BYTES / 2)
    await expectAll(any, onTcp)
    await expectAll(overTcp, [...onTcp, ...onBoth])
    await expectAll(overRdma, onBoth)
    await rejectsWith(overRdma.get(onTcp[0]!, { deadlineMs: 10_000 }), 'ERR_TRANSFER_FAIL')
  })

  it('an interface that goes down: operations go on over TCP, which is said once, and later over RDMA again', async () => {
    const store = await connect('flapping', both())
    const keys = keysOf('before-flap', 12)
    await putAll(store, keys, { preferredSegments: ['both'] })
    const traffic = startTraffic(store, keys, 1)
    try {
      await until(() => traffic.met.gets > 10 && traffic.met.puts > 10, UNTIL)
      setLink(LINKS[0], 'down') // Its end of the wire loses the carrier too: no device is left.
      const { gets, puts } = traffic.met
      await until(() => traffic.met.gets > gets + 20 && traffic.met.puts > puts + 20, UNTIL)
    } finally {
      setLink(LINKS[0], 'up')
    }
    const met = await traffic.stop()
    expect([...met.wrong, ...met.retryable]).to.deep.equal([])
    expect(met.misses).to.equal(0)
    expect(cluster!.log('both').match(/going on over the next one/g)?.length ?? 0).to.be.below(2)
    await until(async () => {
      const packets = await packetsDuring(() => expectAll(store, keys))
      return Math.max(...packets) > (keys.length * SIZE) / PACKET_BYTES / 2
    }, UNTIL)
  })

  it('kill -9 of a node in mid-transfer: operations end in time, on another replica; no wrong bytes', async () => {
    const store = await connect('killing', both())
    const keys = keysOf('before-kill', 12)
    await putAll(store, keys, { replicaNum: 2, hardPin: true, preferredSegments: ['victim', 'both'] })
    const traffic = startTraffic(store, keys, 2)
    await until(() => traffic.met.gets > 20 && traffic.met.puts > 20, UNTIL)
    victim.server.kill('SIGKILL')
    await victim.server.exited
    const { gets } = traffic.met
    await until(() => traffic.met.gets > gets + 20, UNTIL)
    const met = await traffic.stop()
    expect(met.wrong).to.deep.equal([])
    expect(met.misses, 'gets of keys that have a second replica').to.equal(0)
    await expectAll(store, keys)
  })

  it('a device that is to be removed: operations go on, and it goes when the last process has let go of it', async () => {
    const store = await connect('removing', both())
    const keys = keysOf('before-removal', 6)
    await putAll(store, keys, { preferredSegments: ['both'] })
    const removal = removeDevice('rxe1')
    const removed = once(removal, 'exit')
    try {
      await expectAll(store, keys)
      await putAll(store, keysOf('meanwhile', 6), {})
      expect(removal.exitCode, 'Soft-RoCE waits for its users').to.equal(null)
    } finally {
      await cluster![Symbol.asyncDispose]()
      const [code] = (await removed) as [number]
      addDevice('rxe1', LINKS[1])
      expect(code).to.equal(0)
    }
  })

  function startTraffic(store: Store, keys: readonly string[], replicaNum: number): Traffic {
    const options = { byteLength: SIZE, deadlineMs: DEADLINE_MS, concurrency: 2, batch: 4 }
    return new Traffic(store, { ...options, keys, replicaNum })
  }
})
