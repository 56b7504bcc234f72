import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { native, type Native } from '../../dist/native.js'
import {
  atEnd,
  batchOf,
  bytesOf,
  cleanUp,
  codes,
  expose,
  held,
  onlyInGuest,
  order,
  regionOf,
  run,
  soon,
  startNode,
  startPeer,
  system,
  systemLater,
  NEEDS_GUEST,
  PAIRS_OF_LINK,
} from './support.js'

describe('faults of peers and devices', function () {
  this.timeout(120_000)
  before(NEEDS_GUEST, onlyInGuest)
  afterEach(cleanUp)

  it('a key of memory that the device refuses is a refused operation, and others of the batch go on', async () => {
    const a = await startNode({ deviceNames: ['rxe0'] })
    let wrongly = false
    const addon = native() as { WindowTable: Native['WindowTable'] }
    const { WindowTable } = addon
    addon.WindowTable = class extends WindowTable {
      override publish(index: number, rkeys: Uint32Array): void {
        super.publish(index, wrongly ? rkeys.map(key => key ^ 0x5a00) : rkeys)
      }
    }
    atEnd(() => {
      addon.WindowTable = WindowTable
    })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const [wrong, right] = [regionOf(kib(64)), regionOf(kib(64))]
    const source = regionOf(kib(64))
    bytesOf(source).fill(7)
    const good = expose(b.transport, right)
    expect(codes(await run(a.transport, batchOf('write', source, good.window)))).to.deep.equal({ OK: 1 })
    wrongly = true
    const bad = expose(b.transport, wrong)
    const batch = [
      ...batchOf('write', source, good.window, kib(8)),
      ...batchOf('write', source, bad.window, kib(64)),
      ...batchOf('write', source, good.window, kib(8)),
    ]
    expect(codes(await run(a.transport, batch))).to.deep.equal({ OK: 16, ERR_ACCESS_DENIED: 1 })
    expect(bytesOf(wrong).every(byte => byte === 0)).to.equal(true)
    expect(bytesOf(right).every(byte => byte === 7)).to.equal(true)
  })

  // Soft-RoCE takes 7 retries for infinite: then only the end of the control connection tells.
  for (const packetRetries of [6, 7])
    it(`a peer that is killed in mid-batch fails what is left within its deadline, and leaves nothing behind (${packetRetries} retries)`, async () => {
      const a = await startNode({ deviceNames: ['rxe0'], packetRetries })
      const { child, window } = await startPeer('rxe1', mib(16))
      const local = regionOf(mib(16))
      const before = held(a, 'rxe0')
      expect(codes(await run(a.transport, batchOf('write', regionOf(kib(64)), window)))).to.deep.equal({
        OK: 1,
      })
      const batch = Array.from({ length: 4 }, () => batchOf('write', local, window, kib(64))).flat()
      const running = run(a.transport, batch)
      await soon(() => held(a, 'rxe0').operations > 0)
      child.kill('SIGKILL')
      const killed = performance.now()
      const counts = codes(await running)
      expect(performance.now() - killed).to.be.below(20_000)
      // A dying process may lose its memory registration before its queue pair: then a write is refused.
      const { OK = 0, ERR_TRANSFER_FAIL: failed = 0, ERR_ACCESS_DENIED: refused = 0 } = counts
      expect(failed + refused).to.be.above(0)
      expect(OK + failed + refused).to.equal(batch.length)
      await soon(() => held(a, 'rxe0').pairs === 0)
      local.close()
      await soon(() => held(a, 'rxe0').regions <= before.regions + 1)
    })

  it('a writer that is killed leaves no queue pair, and no late byte after a revoke', async () => {
    const b = await startNode({ deviceNames: ['rxe1'] })
    const { child } = await startPeer('rxe0', mib(4))
    const exposed = regionOf(mib(4))
    const exposure = expose(b.transport, exposed)
    child.send({
      kind: 'write',
      window: { ...exposure.window, key: [...exposure.window.key] },
      pieceBytes: kib(64),
      times: 1000,
    })
    await soon(() => bytesOf(exposed).includes(1))
    child.kill('SIGKILL')
    await exposure.revoke()
    bytesOf(exposed).fill(99)
    await soon(() => held(b, 'rxe1').pairs === 0)
    expect(bytesOf(exposed).every(byte => byte === 99)).to.equal(true)
    expect(b.transport.exposureCount).to.equal(0)
  })

  it('a writer that stands still loses its queue pairs when a window of its is revoked', async () => {
    const b = await startNode({ deviceNames: ['rxe1'], abortGraceMs: 300 })
    const { child } = await startPeer('rxe0', mib(4))
    const exposed = regionOf(mib(4))
    const exposure = expose(b.transport, exposed)
    child.send({
      kind: 'write',
      window: { ...exposure.window, key: [...exposure.window.key] },
      pieceBytes: kib(64),
      times: 1000,
    })
    await soon(() => bytesOf(exposed).includes(1))
    child.kill('SIGSTOP')
    const begun = performance.now()
    await exposure.revoke()
    expect(performance.now() - begun).to.be.below(20_000)
    bytesOf(exposed).fill(99)
    child.kill('SIGCONT')
    const other = await startPeer('rxe0', kib(64))
    const target = regionOf(kib(64))
    const { window } = expose(b.transport, target)
    const report = await order(other.child, { kind: 'write', window, pieceBytes: kib(64), times: 2 })
    expect(report.codes).to.deep.equal({ OK: 2 })
    expect(bytesOf(exposed).every(byte => byte === 99)).to.equal(true)
  })

  it('an interface that goes down fails operations, and they work again when it is up', async () => {
    const a = await startNode({ deviceNames: ['rxe0'], retriesMax: 0 })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const [local, exposed] = [regionOf(mib(8)), regionOf(mib(8))]
    const { window } = expose(b.transport, exposed)
    expect(codes(await run(a.transport, batchOf('write', local, window, mib(1))))).to.deep.equal({ OK: 8 })
    atEnd(() => system('ip', 'link', 'set', 'a0', 'up'))
    const down = systemLater('ip', 'link', 'set', 'a0', 'down')
    await soon(
      async () =>
        'ERR_TRANSFER_FAIL' in codes(await run(a.transport, batchOf('write', local, window, kib(64)))),
    )
    await down
    await soon(() => a.warnings.some(text => text.includes('rxe0')))
    system('ip', 'link', 'set', 'a0', 'up')
    bytesOf(local).fill(5)
    await soon(async () => codes(await run(a.transport, batchOf('write', local, window, mib(1)))).OK === 8)
    expect(bytesOf(exposed).every(byte => byte === 5)).to.equal(true)
  })

  it('memory that may not be pinned is named, at either end', async () => {
    // Without the capability to lock memory, and with a limit that has room for the transport's own.
    const limited = [
      'setpriv',
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      'prlimit',
      `--memlock=${mib(6)}`,
    ]
    const poor = await startPeer('rxe0', mib(16), limited)
    const b = await startNode({ deviceNames: ['rxe1'] })
    const local = regionOf(mib(16))
    const { window } = expose(b.transport, local)
    const report = await order(poor.child, { kind: 'write', window, pieceBytes: mib(1), times: 1 })
    expect(report.codes).to.deep.equal({ ERR_TRANSFER_FAIL: 16 })
    expect(report.message).to.match(/could not register .* RLIMIT_MEMLOCK/)
    const [completion] = await run(b.transport, batchOf('read', local, poor.window))
    expect(completion?.error).to.have.property('code', 'ERR_TRANSFER_FAIL')
  })

  it('leaves no region, no queue pair and no window behind', async () => {
    const a = await startNode({ deviceNames: ['rxe0'] })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const before = { a: held(a, 'rxe0'), b: held(b, 'rxe1') }
    for (let round = 0; round < 20; round++) {
      const [local, exposed] = [regionOf(kib(256)), regionOf(kib(256))]
      const exposure = expose(b.transport, exposed)
      const kind = round % 2 === 0 ? 'write' : 'read'
      expect(codes(await run(a.transport, batchOf(kind, local, exposure.window, kib(64))))).to.deep.equal({
        OK: 4,
      })
      await exposure.revoke(round % 3 === 0 ? { peerAtRest: true } : {})
      local.close()
      exposed.close()
    }
    await soon(() => held(a, 'rxe0').regions === before.a.regions)
    await soon(() => held(b, 'rxe1').regions === before.b.regions)
    expect(b.transport.exposureCount).to.equal(0)
    expect(held(a, 'rxe0').pairs).to.equal(PAIRS_OF_LINK)
    await b.transport.stop()
    await soon(() => held(a, 'rxe0').pairs === 0)
  })
})
