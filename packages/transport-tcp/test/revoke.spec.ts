import { expect } from 'chai'
import { KIB, MIB, type TransferOp } from '@mooncake-ts/core'
import { POISON } from './peer-orders.js'
import {
  bytesOf,
  cleanUp,
  codes,
  expose,
  operation,
  order,
  regionOf,
  run,
  startNode,
  startPeerProcess,
  until,
  type Node,
} from './support.js'

const POOL_BYTES = 32 * MIB
const GRACE_MS = 300

const lanesEnded = ({ logged }: Node): number =>
  logged.filter(({ message }) => message.includes('closed by a revoke')).length

describe('revoke', function () {
  this.timeout(15_000)
  afterEach(cleanUp)

  for (const kind of ['read', 'write'] as const) {
    it(`is bounded when a peer stands still in the middle of a ${kind}`, async () => {
      const owner = await startNode({ abortGraceMs: GRACE_MS })
      const other = await startNode()
      const { child } = await startPeerProcess(POOL_BYTES)
      const [victim, bystander] = [regionOf(POOL_BYTES), regionOf(POOL_BYTES)]
      bytesOf(victim).fill(1)
      const exposure = expose(owner.transport, victim, kind)
      const { window } = expose(owner.transport, bystander)
      // A lane for small operations that has nothing to do with the range.
      await order(child, { kind: 'write', window, byteLength: 4 * KIB, count: 1 })

      const moved = owner.engine.stats().submitted
      const ended = order(child, { kind, window: exposure.window, byteLength: POOL_BYTES, count: 60 })
      const underWay = (): boolean =>
        kind === 'write' ? bytesOf(victim)[0] === 0 : owner.engine.stats().submitted > moved + 20
      await until(underWay, 'the middle of a frame')
      child.kill('SIGSTOP')
      const began = performance.now()
      const revoked = exposure.revoke()
      const batch: TransferOp[] = [16 * KIB, POOL_BYTES].map(byteLength =>
        operation('write', regionOf(byteLength), window, { byteLength }),
      )
      expect(codes(await run(other.transport, batch))).to.deep.equal(['OK', 'OK'])
      await revoked
      expect(performance.now() - began).to.be.within(GRACE_MS * 0.9, GRACE_MS + 500)
      bytesOf(victim).fill(POISON)
      expect(codes(await run(other.transport, batch))).to.deep.equal(['OK', 'OK'])

      child.kill('SIGCONT')
      const report = await ended
      expect(report.codes).to.include.members(['ERR_TRANSFER_FAIL', 'ERR_ACCESS_DENIED'])
      // Neither did the late writes reach our memory, nor did the late reads see it.
      expect(bytesOf(victim).equals(Buffer.alloc(POOL_BYTES, POISON))).to.equal(true)
      expect(report.poisoned).to.equal(false)
      await until(() => lanesEnded(owner) > 0, 'the log')
      expect(lanesEnded(owner)).to.be.within(1, 2, 'the lanes for large operations')
      for (const byteLength of [4 * KIB, POOL_BYTES]) {
        const again = await order(child, { kind: 'write', window, byteLength, count: 3 })
        expect(again.codes).to.deep.equal(['OK', 'OK', 'OK'])
      }
      expect(lanesEnded(owner)).to.be.at.most(2)
    })
  }

  it('lets frames end by themselves', async () => {
    const owner = await startNode()
    const { child } = await startPeerProcess(POOL_BYTES)
    const exposure = expose(owner.transport, regionOf(POOL_BYTES))
    const moved = owner.engine.stats().completed
    const ended = order(child, {
      kind: 'write',
      window: exposure.window,
      byteLength: 4 * MIB,
      count: 300,
    })
    await until(() => owner.engine.stats().completed > moved + 100, 'the middle of the batch')
    await exposure.revoke()
    const report = await ended
    expect(new Set(report.codes)).to.deep.equal(new Set(['OK', 'ERR_ACCESS_DENIED']))
    expect(lanesEnded(owner)).to.equal(0)
  })
})

describe('a signal', () => {
  afterEach(cleanUp)

  it('serves any number of batches', async () => {
    const { transport } = await startNode()
    const region = regionOf(4 * KIB)
    const { window } = expose(transport, region)
    const { signal } = new AbortController()
    let warned: Error | undefined
    const onWarning = (warning: Error): void => {
      warned = warning
    }
    process.on('warning', onWarning)
    const read = operation('read', region, window, { byteLength: KIB })
    await Promise.all(Array.from({ length: 20 }, () => run(transport, [read], { signal })))
    await new Promise(setImmediate)
    process.off('warning', onWarning)
    expect(warned).to.equal(undefined)
  })
})
