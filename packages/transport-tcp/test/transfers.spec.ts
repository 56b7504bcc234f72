import { expect } from 'chai'
import fc from 'fast-check'
import { KIB, MIB, type Exposure, type Region, type TransferOp } from '@mooncake-ts/core'
import type { TcpOptions } from '../dist/options.js'
import {
  bytesOf,
  cleanUp,
  codes,
  expose,
  operation,
  regionOf,
  run,
  startNode,
  startPeerProcess,
  until,
  type Node,
} from './support.js'

const POOL_BYTES = 8 * MIB

interface Pair {
  readonly near: Node
  readonly far: Node
  readonly local: Region
  readonly remote: Region
  readonly exposure: Exposure
}

async function pair(options: TcpOptions = {}, poolBytes = POOL_BYTES): Promise<Pair> {
  const [near, far] = [await startNode(options), await startNode(options)]
  const [local, remote] = [regionOf(poolBytes), regionOf(poolBytes)]
  return { near, far, local, remote, exposure: expose(far.transport, remote) }
}

function fillRandomly(bytes: Buffer, seed: number): void {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 4))
  let state = seed | 1
  for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
}

interface Step {
  readonly kind: 'read' | 'write'
  readonly byteLength: number
}

/** Sizes from 0 to 4 MiB, small ones more often, edges of pages and thresholds among them. */
const size = fc.oneof(
  { weight: 4, arbitrary: fc.nat(8 * KIB) },
  { weight: 2, arbitrary: fc.nat(256 * KIB) },
  { weight: 1, arbitrary: fc.nat(4 * MIB) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 4096, 64 * KIB, MIB - 1, MIB, MIB + 1, 4 * MIB) },
)
const step: fc.Arbitrary<Step> = fc.record({ kind: fc.constantFrom('read', 'write'), byteLength: size })

/** Lays the steps side by side, the local and the remote places in opposite orders, so that none overlap. */
function laidOut(steps: readonly Step[], { local, exposure }: Pair): TransferOp[] {
  const batch: TransferOp[] = []
  let used = 0
  for (const { kind, byteLength } of steps) {
    if (used + byteLength > POOL_BYTES) continue
    const range = { local: used, remote: POOL_BYTES - used - byteLength, byteLength }
    batch.push(operation(kind, local, exposure.window, range))
    used += byteLength
  }
  return batch
}

describe('transfers', function () {
  this.timeout(30_000)
  afterEach(cleanUp)

  const variants: [string, TcpOptions][] = [
    ['io_uring', {}],
    ['threads', { engine: 'threads' }],
    [
      'one lane, tiny frames',
      { lanesPerPeer: 1, frameOpsMax: 2, stripeBytes: 64 * KIB, bulkThresholdBytes: 32 * KIB },
    ],
    ['tight admission', { inflightBytesMaxPerPeer: 1 }],
  ]
  for (const [name, options] of variants) {
    it(`moves random batches as a model does: ${name}`, async () => {
      const there = await pair(options)
      const [near, far] = [bytesOf(there.local), bytesOf(there.remote)]
      let seed = 1
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async steps => {
          fillRandomly(near, seed++)
          fillRandomly(far, seed++)
          const [nearModel, farModel] = [Buffer.from(near), Buffer.from(far)]
          const batch = laidOut(steps, there)
          for (const { kind, local, remote } of batch) {
            const [from, to] = kind === 'read' ? [farModel, nearModel] : [nearModel, farModel]
            const [source, target] = kind === 'read' ? [remote, local] : [local, remote]
            from.copy(to, target.offset, source.offset, source.offset + source.byteLength)
          }
          const completions = await run(there.near.transport, batch)
          expect(completions).to.deep.equal(
            batch.map(({ local }, index) => ({ index, bytes: local.byteLength })),
          )
          expect(near.equals(nearModel)).to.equal(true)
          expect(far.equals(farModel)).to.equal(true)
        }),
        { numRuns: 20 },
      )
    })
  }

  it('stripes 32 MiB over lanes, both ways', async () => {
    const bytes = 32 * MIB + 12_345
    const { near, far, local, remote, exposure } = await pair({ lanesPerPeer: 4 }, bytes)
    fillRandomly(bytesOf(remote), 7)
    const read = operation('read', local, exposure.window, { byteLength: bytes })
    expect(codes(await run(near.transport, [read]))).to.deep.equal(['OK'])
    expect(bytesOf(local).equals(bytesOf(remote))).to.equal(true)
    fillRandomly(bytesOf(local), 8)
    const write = operation('write', local, exposure.window, { byteLength: bytes })
    expect(codes(await run(near.transport, [write]))).to.deep.equal(['OK'])
    expect(bytesOf(local).equals(bytesOf(remote))).to.equal(true)
    expect(far.engine.stats().inFlight).to.be.greaterThan(2, 'several lanes are served')
  })

  it('keeps moving with another process, all sizes and directions at the same time', async () => {
    const { transport } = await startNode({ operationTimeoutMs: 3_000 })
    const { window } = await startPeerProcess(POOL_BYTES)
    const local = regionOf(POOL_BYTES)
    const sizes = [64, 4 * KIB, 64 * KIB, MIB, 4 * MIB, POOL_BYTES]
    const mixed = sizes.flatMap(byteLength =>
      (['read', 'write'] as const).map(kind => operation(kind, local, window, { byteLength })),
    )
    for (let round = 0; round < 60; round++) {
      const batches = [mixed, mixed.slice(round % 12), mixed.slice(0, 2)].map(batch => run(transport, batch))
      for (const completions of await Promise.all(batches))
        expect(codes(completions)).to.not.include('ERR_TRANSFER_FAIL')
    }
  })

  it('packs thousands of small operations', async () => {
    const { near, local, remote, exposure } = await pair()
    fillRandomly(bytesOf(remote), 3)
    const batch = Array.from({ length: 5000 }, (_, i) =>
      operation('read', local, exposure.window, { local: i * 1000, remote: i * 1000, byteLength: 1000 }),
    )
    const before = near.engine.stats().submitted
    expect(new Set(codes(await run(near.transport, batch)))).to.deep.equal(new Set(['OK']))
    expect(bytesOf(local).subarray(0, 5_000_000).equals(bytesOf(remote).subarray(0, 5_000_000))).to.equal(
      true,
    )
    expect(near.engine.stats().submitted - before).to.be.lessThan(500)
  })

  it('reaches its own exposures', async () => {
    const { transport } = await startNode()
    const [from, to] = [regionOf(4 * MIB), regionOf(4 * MIB)]
    fillRandomly(bytesOf(from), 5)
    const { window } = expose(transport, from, 'read')
    const batch = [operation('read', to, window, { byteLength: 4 * MIB })]
    expect(codes(await run(transport, batch))).to.deep.equal(['OK'])
    expect(bytesOf(to).equals(bytesOf(from))).to.equal(true)
  })

  it('does not keep small operations waiting behind large ones', async () => {
    const { near, local, exposure } = await pair({ stripeBytes: MIB }, 32 * MIB)
    const large = Array.from({ length: 24 }, () =>
      operation('write', local, exposure.window, { byteLength: 32 * MIB }),
    )
    let largeEnded = false
    const all = run(near.transport, large).then(() => {
      largeEnded = true
    })
    let smallDone = 0
    while (!largeEnded && smallDone < 20) {
      await run(near.transport, [operation('read', local, exposure.window, { byteLength: 4096 })])
      if (!largeEnded) smallDone++
    }
    expect(smallDone).to.equal(20)
    await all
  })

  it('posts when subscribed to, and goes on when nobody watches', async () => {
    const { near, local, remote, exposure } = await pair()
    bytesOf(local).fill(9)
    const batch = [operation('write', local, exposure.window, { byteLength: 4 * MIB })]
    const stream = near.transport.execute(batch, { signal: new AbortController().signal })
    expect(near.engine.stats().submitted).to.equal(1, 'only the accept of the listener')
    stream.subscribe().unsubscribe()
    await until(() => bytesOf(remote)[4 * MIB - 1] === 9, 'the write to land')
  })

  it('completes an empty batch and an empty operation', async () => {
    const { near, local, exposure } = await pair()
    expect(await run(near.transport, []).catch((error: Error) => error.name)).to.deep.equal([])
    const batch = [operation('read', local, exposure.window, { byteLength: 0 })]
    expect(await run(near.transport, batch)).to.deep.equal([{ index: 0, bytes: 0 }])
  })

  it('refuses beyond its queue, and serves what it took', async () => {
    const { near, local, exposure } = await pair({ queuedOpsMaxPerPeer: 10 })
    const batch = Array.from({ length: 12 }, () =>
      operation('read', local, exposure.window, { byteLength: 64 }),
    )
    const ended = codes(await run(near.transport, batch))
    expect(ended.slice(0, 10)).to.deep.equal(Array(10).fill('OK'))
    expect(ended.slice(10)).to.deep.equal(['ERR_OVERLOADED', 'ERR_OVERLOADED'])
  })

  it('closes idle lanes, and opens new ones when needed', async () => {
    const { near, far, local, exposure } = await pair({ laneIdleMs: 20 })
    const batch = [operation('read', local, exposure.window, { byteLength: 64 })]
    await run(near.transport, batch)
    await until(
      () => near.engine.stats().inFlight === 1 && far.engine.stats().inFlight === 1,
      'idle lanes to close',
    )
    expect(codes(await run(near.transport, batch))).to.deep.equal(['OK'])
  })

  it('leaves nothing behind', async () => {
    const nodes = [await startNode(), await startNode({ engine: 'threads' })]
    const region = regionOf(4 * MIB)
    for (const node of nodes) {
      for (const target of nodes) {
        const exposure = expose(target.transport, region)
        const batch = [64, MIB, 4 * MIB].map(byteLength =>
          operation('write', region, exposure.window, { byteLength }),
        )
        expect(codes(await run(node.transport, batch))).to.deep.equal(['OK', 'OK', 'OK'])
        await exposure.revoke()
      }
    }
    await Promise.all(nodes.map(node => node.transport.stop()))
    for (const { engine } of nodes) {
      expect(engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
    }
  })
})
