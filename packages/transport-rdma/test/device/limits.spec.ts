import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { kib } from '@mooncake-ts/core'
import {
  atEnd,
  batchOf,
  cleanUp,
  codes,
  expose,
  held,
  NEEDS_GUEST,
  onlyInGuest,
  PAIRS_OF_LINK,
  regionOf,
  run,
  soon,
  startNode,
  system,
} from './support.js'

const ROOT = '/sys/fs/cgroup'
const GROUP = `${ROOT}/rdma-limits`

/** What this process has of a device is counted, and may be limited, until the test ends. */
function enterGroup(): void {
  system('sh', '-c', `mountpoint -q ${ROOT} || mount -t cgroup2 none ${ROOT}`)
  writeFileSync(`${ROOT}/cgroup.subtree_control`, '+rdma')
  mkdirSync(GROUP, { recursive: true })
  writeFileSync(`${GROUP}/cgroup.procs`, String(process.pid))
  atEnd(() => {
    writeFileSync(`${ROOT}/cgroup.procs`, String(process.pid))
    rmdirSync(GROUP)
  })
}

function objectsOf(device: string): number {
  const line = new RegExp(`^${device} .*hca_object=(\\d+)`, 'm').exec(
    readFileSync(`${GROUP}/rdma.current`, 'utf8'),
  )
  return Number(line?.[1] ?? 0)
}

function limitObjects(device: string, max: number | 'max'): void {
  writeFileSync(`${GROUP}/rdma.max`, `${device} hca_object=${max}`)
}

describe('limits of a device', function () {
  this.timeout(120_000)
  before(NEEDS_GUEST, onlyInGuest)
  afterEach(cleanUp)

  for (const [where, device, message] of [
    [
      'here',
      'rxe0',
      /rxe0 could not make an endpoint \(ibv_create_qp\): EAGAIN: a limit of the control group/,
    ],
    ['at the peer', 'rxe1', /The peer made no link: .*rxe1 could not make an endpoint \(ibv_create_qp\)/],
  ] as const) {
    it(`no queue pair is left ${where}: a named error, nothing left behind, and it works when there are some`, async () => {
      enterGroup()
      const a = await startNode({ deviceNames: ['rxe0'], linkIdleMs: 200 })
      const b = await startNode({ deviceNames: ['rxe1'] })
      const [local, exposed] = [regionOf(kib(64)), regionOf(kib(64))]
      const { window } = expose(b.transport, exposed)
      const move = () => run(a.transport, batchOf('write', local, window, kib(16)))
      expect(codes(await move())).to.deep.equal({ OK: 4 })
      const nothingHeld = (): boolean => held(a, 'rxe0').pairs === 0 && held(b, 'rxe1').pairs === 0
      await soon(nothingHeld)
      const idle = { a: held(a, 'rxe0'), b: held(b, 'rxe1'), objects: objectsOf(device) }
      expect(idle.objects).to.be.above(0)
      // One of three can be made.
      limitObjects(device, idle.objects + 1)
      const completions = await move()
      expect(codes(completions)).to.deep.equal({ ERR_TRANSFER_FAIL: 4 })
      expect(completions[0]?.error?.message).to.match(message)
      await soon(nothingHeld)
      expect({ a: held(a, 'rxe0'), b: held(b, 'rxe1'), objects: objectsOf(device) }).to.deep.equal(idle)
      limitObjects(device, 'max')
      expect(codes(await move())).to.deep.equal({ OK: 4 })
    })
  }

  it('a link without work makes place for one that has', async () => {
    // Room for the completions of one link, not of two.
    const a = await startNode({ deviceNames: ['rxe0'], completionsMax: 300 })
    const peers = [await startNode({ deviceNames: ['rxe1'] }), await startNode({ deviceNames: ['rxe1'] })]
    const local = regionOf(kib(64))
    const windows = peers.map(({ transport }) => expose(transport, regionOf(kib(64))).window)
    for (const window of [...windows, ...windows]) {
      expect(codes(await run(a.transport, batchOf('write', local, window)))).to.deep.equal({ OK: 1 })
      expect(held(a, 'rxe0').pairs).to.equal(PAIRS_OF_LINK)
    }
  })
})
