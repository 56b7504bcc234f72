import { expect } from 'chai'
import { kib, mib, type RemoteWindow, type TransferOp } from '@mooncake-ts/core'
import { wrapBuffer } from '@mooncake-ts/memory'
import { collect, failureOf, randomBytes } from '@mooncake-ts/testkit'
import {
  atEnd,
  bytesOf,
  cleanUp,
  codes,
  expose,
  held,
  NEEDS_GUEST,
  onlyInGuest,
  regionOf,
  run,
  soon,
  startNode,
} from './support.js'

const NOTHING = { usedBytes: 0, waiting: 0 }

/** A caller's own buffers, none of which any device knows, one behind the other in a window. */
function opsOn(kind: 'read' | 'write', buffers: readonly Buffer[], window: RemoteWindow): TransferOp[] {
  let offset = 0
  return buffers.map(buffer => {
    const region = wrapBuffer(buffer)
    atEnd(() => {
      region.close()
    })
    const { byteLength } = buffer
    const op = { kind, local: { region, offset: 0, byteLength }, remote: { window, offset, byteLength } }
    offset += byteLength
    return op
  })
}

function buffersOf(count: number, byteLength: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.from(randomBytes(byteLength, i)))
}

describe("callers' own buffers", function () {
  this.timeout(120_000)
  before(NEEDS_GUEST, onlyInGuest)
  afterEach(cleanUp)

  it('pass through memory that the device knows, both ways, whatever their size', async () => {
    const a = await startNode({ deviceNames: ['rxe0'] })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const exposed = regionOf(mib(1))
    const { window } = expose(b.transport, exposed)
    const sent = [1, 100, 4096, 4097, kib(64) + 3, kib(256)].flatMap(size => buffersOf(1, size))
    const before = held(a, 'rxe0').regions
    expect(codes(await run(a.transport, opsOn('write', sent, window)))).to.deep.equal({ OK: 6 })
    const whole = Buffer.concat(sent)
    expect(bytesOf(exposed).subarray(0, whole.byteLength).equals(whole)).to.equal(true)
    const received = sent.map(({ byteLength }) => Buffer.alloc(byteLength))
    expect(codes(await run(a.transport, opsOn('read', received, window)))).to.deep.equal({ OK: 6 })
    expect(Buffer.concat(received).equals(whole)).to.equal(true)
    expect(held(a, 'rxe0').regions).to.equal(before + 1)
    expect(a.transport.staging).to.deep.equal(NOTHING)
  })

  it('are registered where they are larger', async () => {
    const a = await startNode({ deviceNames: ['rxe0'] })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const exposed = regionOf(kib(512))
    const { window } = expose(b.transport, exposed)
    const before = held(a, 'rxe0').regions
    const [buffer] = buffersOf(1, kib(512)) as [Buffer]
    const ops = opsOn('write', [buffer], window)
    expect(codes(await run(a.transport, ops))).to.deep.equal({ OK: 1 })
    expect(bytesOf(exposed).equals(buffer)).to.equal(true)
    expect(held(a, 'rxe0').regions).to.equal(before + 1)
    ops[0]!.local.region.close()
    await soon(() => held(a, 'rxe0').regions === before)
  })

  it('wait where there is no room, and all have their turn', async () => {
    const a = await startNode({ deviceNames: ['rxe0'], stagingBytesMax: kib(64) })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const exposed = regionOf(mib(1))
    const { window } = expose(b.transport, exposed)
    for (const kind of ['write', 'read'] as const) {
      const buffers = buffersOf(50, kib(20))
      const ops = opsOn(kind, buffers, window)
      const moving = run(a.transport, ops)
      expect(a.transport.staging).to.deep.equal({ usedBytes: kib(60), waiting: 47 })
      expect(codes(await moving)).to.deep.equal({ OK: 50 })
      const whole = Buffer.concat(buffers)
      expect(bytesOf(exposed).subarray(0, whole.byteLength).equals(whole)).to.equal(true)
      expect(a.transport.staging).to.deep.equal(NOTHING)
    }
  })

  it('that wait when their call is aborted are not touched', async () => {
    const a = await startNode({ deviceNames: ['rxe0'], stagingBytesMax: kib(8) })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const exposed = regionOf(kib(256))
    const { window } = expose(b.transport, exposed)
    const sent = buffersOf(20, kib(8))
    const others = run(a.transport, opsOn('write', sent, window))
    const abort = new AbortController()
    const untouched = [Buffer.alloc(kib(8), 77), Buffer.alloc(kib(8), 78)]
    const aborted = collect(a.transport.execute(opsOn('read', untouched, window), { signal: abort.signal }))
    expect(a.transport.staging.waiting).to.equal(21)
    abort.abort(new Error('enough'))
    expect(await failureOf(aborted)).to.have.property('message', 'enough')
    expect(codes(await others)).to.deep.equal({ OK: 20 })
    expect(bytesOf(exposed).subarray(0, kib(160)).equals(Buffer.concat(sent))).to.equal(true)
    expect(untouched.map(buffer => buffer[kib(4)])).to.deep.equal([77, 78])
    expect(a.transport.staging).to.deep.equal(NOTHING)
  })

  it('keep nothing of a peer that is gone', async () => {
    const a = await startNode({ deviceNames: ['rxe0'], stagingBytesMax: kib(64), retriesMax: 0 })
    const b = await startNode({ deviceNames: ['rxe1'] })
    const exposed = regionOf(mib(2))
    const { window } = expose(b.transport, exposed)
    const moving = run(a.transport, opsOn('write', buffersOf(100, kib(16)), window))
    await soon(() => held(a, 'rxe0').operations > 0)
    await b.transport.stop()
    const counts = codes(await moving)
    expect(Object.values(counts).reduce((sum, count) => sum + count)).to.equal(100)
    expect(a.transport.staging).to.deep.equal(NOTHING)
  })
})
