import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { kib, mib, systemClock, type Clock, type Completion } from '@mooncake-ts/core'
import { randomBytes, until } from '@mooncake-ts/testkit'
import type { Store } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { TestCluster } from '../cluster/support.js'
import { countedReads } from './counted-reads.js'
import { NEAR_DEADLINE_MS, NEAR_TEST_TIMEOUT_MS } from './deadlines.js'
import { WRITTEN_BYTES_MAX, writtenValue, type OwnerArguments } from './owner-process.js'

const VALUE_BYTES = kib(300)
/** A table is believed for half of it after a beat. */
const CLIENT_TTL_MS = 6000
/** The master waits no longer for a node that is stopped. */
const NODE_CALL_DEADLINE_MS = 300

/** The time of the system, or later. */
class JumpingClock implements Clock {
  readonly wallMs = systemClock.wallMs
  readonly after = systemClock.after
  readonly every = systemClock.every
  readonly sleep = systemClock.sleep
  aheadMs = 0

  nowMs(): number {
    return systemClock.nowMs() + this.aheadMs
  }
}

async function freeEndpoint(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}

describe('neighbours that are other processes', function () {
  this.timeout(NEAR_TEST_TIMEOUT_MS)
  let socketDirectory: string
  let cluster: TestCluster
  let clock: JumpingClock
  let client: Store
  let reads: () => number
  let rpcEndpoint: string
  const children = new Set<ChildProcess>()

  async function startOwner(options: Partial<OwnerArguments> = {}): Promise<ChildProcess> {
    const masterEndpoint = cluster.master.rpcEndpoint
    const given = { masterEndpoint, rpcEndpoint, socketDirectory, capacityBytes: mib(16), ...options }
    const path = fileURLToPath(new URL('owner-process.js', import.meta.url))
    const child = fork(path, [JSON.stringify(given satisfies OwnerArguments)])
    children.add(child)
    await once(child, 'message')
    return child
  }

  async function kill(child: ChildProcess): Promise<void> {
    children.delete(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  const get = async (key: string): Promise<Uint8Array | undefined> =>
    await client.get(key, { deadlineMs: 500 }).catch(() => undefined)

  /** Until what the owner has is read without asking it. */
  async function untilNear(key: string): Promise<void> {
    await until(
      async () => {
        const before = reads()
        await get(key)
        return reads() > before
      },
      { deadlineMs: NEAR_DEADLINE_MS },
    )
  }

  beforeEach(async () => {
    socketDirectory = mkdtempSync(join(tmpdir(), 'near-'))
    cluster = await TestCluster.start({
      clientTtlMs: CLIENT_TTL_MS,
      nodeCallDeadlineMs: NODE_CALL_DEADLINE_MS,
    })
    rpcEndpoint = await freeEndpoint()
    clock = new JumpingClock()
    const counted = countedReads()
    reads = counted.reads
    const transports = [shm({ socketDirectory })]
    client = await cluster.client('client', { transports, metrics: counted.metrics, clock })
  })
  afterEach(async () => {
    await Promise.all([...children].map(kill))
    await cluster[Symbol.asyncDispose]()
    rmSync(socketDirectory, { recursive: true })
  })

  it('are near again when they were killed while nobody read, and started at the same endpoint', async () => {
    const first = await startOwner()
    await client.put('k', randomBytes(VALUE_BYTES, 1))
    await untilNear('k')
    await kill(first)
    await startOwner()
    clock.aheadMs += 20_000
    const value = randomBytes(VALUE_BYTES, 2)
    await until(async () => {
      await client.put('k', value, { deadlineMs: 500 }).catch(() => {})
      return (await get('k')) != null
    })
    await untilNear('k')
    expect(Buffer.from((await client.get('k'))!).equals(value)).to.equal(true)
  })

  it('are read while they are stopped, but nothing that was removed without them', async () => {
    const owner = await startOwner()
    const other = await cluster.client('other', { transports: [shm({ socketDirectory })] })
    await client.put('k', randomBytes(VALUE_BYTES, 1))
    await untilNear('k')
    owner.kill('SIGSTOP')
    const before = reads()
    expect(await get('k')).not.to.equal(undefined)
    expect(reads()).to.equal(before + 1)
    let removed = false
    const removing = until(
      async () =>
        await other.remove('k').then(
          () => true,
          () => false,
        ),
      { deadlineMs: 15_000 },
    ).then(() => (removed = true))
    let seenAfter = 0
    for (let tries = 0; tries < 5;) {
      if (removed) tries++
      const isAfter = removed
      if ((await get('k')) != null && isAfter) seenAfter++
      await new Promise(resolve => setImmediate(resolve))
    }
    await removing
    expect(seenAfter).to.equal(0)
    owner.kill('SIGCONT')
    const value = randomBytes(VALUE_BYTES, 2)
    await until(async () => {
      await other.put('k', value, { deadlineMs: 500 }).catch(() => {})
      return (await get('k')) != null
    })
    await untilNear('k')
    expect(Buffer.from((await client.get('k'))!).equals(value)).to.equal(true)
  })

  it('give whole objects only, and none that is older, while they write and evict, and when killed', async () => {
    const keyCount = 80
    const owner = await startOwner({ capacityBytes: mib(4), keyCount })
    const newest = new Array<number>(keyCount).fill(0)
    const keys = newest.map((_, index) => `k${index}`)
    let found = 0
    let stopped = false
    const read = async (): Promise<void> => {
      const into = keys.map(() => Buffer.alloc(WRITTEN_BYTES_MAX))
      while (!stopped) {
        const atLeast = [...newest]
        const transfer = client.getMany(keys, { into, deadlineMs: 500 })
        const came: Completion[] = []
        transfer.completions$.subscribe({ next: completion => came.push(completion), error: () => {} })
        await transfer.done.catch(() => {})
        for (const { index, bytes, error } of came) {
          if (error != null) continue
          const n = into[index]!.readUInt32LE(4)
          const isWhole = writtenValue(index, n).equals(into[index]!.subarray(0, bytes))
          expect(isWhole, `k${index}, written as ${n}`).to.equal(true)
          expect(n, `k${index}`).to.be.at.least(atLeast[index]!)
          newest[index] = Math.max(newest[index]!, n)
          found++
        }
      }
    }
    const reading = Promise.all([read(), read()])
    await Promise.race([reading, until(() => reads() > 2000 && found > 2000, { deadlineMs: 20_000 })])
    await kill(owner)
    const after = performance.now() + 500
    await until(() => performance.now() > after)
    stopped = true
    await reading
  })
})
