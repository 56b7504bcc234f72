import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { rejectsWith, until } from '@mooncake-ts/testkit'
import type { ObjectView, Store } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { TestCluster } from '../cluster/support.js'
import { countedCalls } from './counted-calls.js'
import { NEAR_DEADLINE_MS, NEAR_TEST_TIMEOUT_MS } from './deadlines.js'
import { writtenValue, type OwnerArguments } from './owner-process.js'
import type { Seen, ViewerArguments } from './viewer-process.js'

const CAPACITY_BYTES = mib(4)
/** The other process may be held up for 2 s. */
const LEASE_MS = 5000
const CONTENT = 7
/** Some seconds of them, where two processes take turns. */
const NEAR_VIEWS = 500

describe('views between processes', function () {
  this.timeout(NEAR_TEST_TIMEOUT_MS)
  let socketDirectory: string
  let cluster: TestCluster
  const children = new Set<ChildProcess>()

  function start(script: string, given: object): ChildProcess {
    const child = fork(fileURLToPath(new URL(script, import.meta.url)), [JSON.stringify(given)])
    children.add(child)
    return child
  }

  async function kill(child: ChildProcess): Promise<void> {
    children.delete(child)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  beforeEach(async () => {
    socketDirectory = mkdtempSync(join(tmpdir(), 'near-'))
    cluster = await TestCluster.start()
  })
  afterEach(async () => {
    await Promise.all([...children].map(kill))
    await cluster[Symbol.asyncDispose]()
    rmSync(socketDirectory, { recursive: true })
  })

  describe('of which one looks on', () => {
    let owner: Store
    let viewer: ChildProcess
    const answers: Seen[] = []

    async function seen(): Promise<Seen> {
      await until(() => answers.length > 0, { deadlineMs: NEAR_DEADLINE_MS })
      return answers.shift()!
    }

    const large = (deadlineMs: number) => owner.put('large', new Uint8Array(CAPACITY_BYTES), { deadlineMs })

    beforeEach(async () => {
      owner = await cluster.node('owner', {
        transports: [shm({ socketDirectory })],
        capacityBytes: CAPACITY_BYTES,
        limits: { keyLeaseMs: LEASE_MS },
      })
      await owner.put('k', new Uint8Array(kib(300)).fill(CONTENT))
      const masterEndpoint = cluster.master.rpcEndpoint
      viewer = start('viewer-process.js', {
        masterEndpoint,
        socketDirectory,
        key: 'k',
      } satisfies ViewerArguments)
      viewer.on('message', message => answers.push(message as Seen))
      expect(await seen()).to.deep.equal({ valid: true, firstByte: CONTENT })
      await owner.remove('k')
    })

    it('keep an object for as long as that process runs, and no longer', async () => {
      await rejectsWith(large(1.2 * LEASE_MS), 'ERR_NO_AVAILABLE_HANDLE')
      viewer.send('?')
      expect(await seen()).to.deep.equal({ valid: true, firstByte: CONTENT })
      await kill(viewer)
      await large(4 * LEASE_MS)
    })

    it('are not valid any more when it has stood still and the memory is something else', async () => {
      viewer.kill('SIGSTOP')
      await large(4 * LEASE_MS)
      viewer.send('?')
      viewer.kill('SIGCONT')
      expect(await seen()).to.deep.equal({ valid: false, firstByte: 0 })
    })
  })

  it('show what they were opened for, while the other writes and evicts', async () => {
    const keyCount = 80
    const masterEndpoint = cluster.master.rpcEndpoint
    const given = {
      masterEndpoint,
      rpcEndpoint: '127.0.0.1:0',
      socketDirectory,
      capacityBytes: CAPACITY_BYTES,
    }
    await once(start('owner-process.js', { ...given, keyCount } satisfies OwnerArguments), 'message')
    const { metrics, calls } = countedCalls()
    const client = await cluster.client('client', { transports: [shm({ socketDirectory })], metrics })
    const open: Array<{ readonly view: ObjectView; readonly index: number; readonly n: number }> = []
    let near = 0
    const check = (view: ObjectView, index: number, n: number): void => {
      const isWhole = writtenValue(index, n).equals(view.bytes)
      expect([isWhole, view.valid], `k${index}, written as ${n}`).to.deep.equal([true, true])
    }
    const endMs = performance.now() + NEAR_DEADLINE_MS
    for (let i = 0; near < NEAR_VIEWS && performance.now() < endMs; i++) {
      const index = (i * 7) % keyCount
      const before = calls('Client.PinKey')
      const view = await client.getView(`k${index}`).catch(() => undefined)
      if (view?.source === 'shared') {
        const n = Buffer.from(view.bytes.buffer, view.bytes.byteOffset).readUInt32LE(4)
        check(view, index, n)
        open.push({ view, index, n })
        if (calls('Client.PinKey') === before) near++
      } else view?.[Symbol.dispose]()
      if (open.length < 20) continue
      const eldest = open.shift()!
      check(eldest.view, eldest.index, eldest.n)
      eldest.view[Symbol.dispose]()
    }
    expect(near).to.equal(NEAR_VIEWS)
  })
})
