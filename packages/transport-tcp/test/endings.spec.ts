import { expect } from 'chai'
import { readdirSync, readlinkSync } from 'node:fs'
import { MIB } from '@mooncake-ts/core'
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
} from './support.js'

const POOL_BYTES = 32 * MIB

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:')
    } catch {
      return false // The descriptor of the listing itself.
    }
  }).length
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return undefined
}

describe('abort', function () {
  this.timeout(10_000)
  afterEach(cleanUp)

  it('posts nothing new, and ends with its reason at rest', async () => {
    const [near, far] = [await startNode(), await startNode()]
    const [local, remote] = [regionOf(POOL_BYTES), regionOf(POOL_BYTES)]
    bytesOf(remote).fill(1)
    const { window } = expose(far.transport, remote)
    const batch = Array.from({ length: 64 }, () =>
      operation('read', local, window, { byteLength: POOL_BYTES }),
    )
    const controller = new AbortController()
    const reason = new Error('enough')
    let completed = 0
    const onNext = (): void => {
      completed++
      controller.abort(reason)
    }
    const error = await rejection(run(near.transport, batch, { signal: controller.signal, onNext }))
    bytesOf(local).fill(2)
    expect(error).to.equal(reason)
    expect(completed).to.be.lessThan(10)
    // The lanes live, and nothing of the batch comes after its end.
    const probe = operation('read', regionOf(MIB), window, { byteLength: MIB })
    expect(codes(await run(near.transport, [probe, probe, probe]))).to.deep.equal(['OK', 'OK', 'OK'])
    expect(bytesOf(local).equals(Buffer.alloc(POOL_BYTES, 2))).to.equal(true)
  })

  it('before the subscription posts nothing', async () => {
    const { transport, engine } = await startNode()
    const region = regionOf(MIB)
    const { window } = expose(transport, region)
    const signal = AbortSignal.abort(new Error('no'))
    const error = await rejection(
      run(transport, [operation('read', region, window, { byteLength: 1 })], { signal }),
    )
    expect(error).to.equal(signal.reason)
    expect(engine.stats().submitted).to.equal(1, 'only the accept of the listener')
  })

  it('by a completion that comes while the batch is posted stops the rest of it', async () => {
    const { transport, engine } = await startNode()
    const region = regionOf(MIB)
    const { window } = expose(transport, region)
    const batch = [0, 1, MIB].map(byteLength => operation('read', region, window, { byteLength }))
    const controller = new AbortController()
    const reason = new Error('enough')
    const onNext = (): void => {
      controller.abort(reason)
    }
    expect(await rejection(run(transport, batch, { signal: controller.signal, onNext }))).to.equal(reason)
    expect(engine.stats().submitted).to.equal(1, 'only the accept of the listener')
  })

  it('costs the lane when the peer does not answer', async () => {
    const near = await startNode({ abortGraceMs: 50 })
    const { child, window } = await startPeerProcess(POOL_BYTES)
    const local = regionOf(POOL_BYTES)
    const batch = [64, POOL_BYTES].map(byteLength => operation('write', local, window, { byteLength }))
    await run(near.transport, batch)
    child.kill('SIGSTOP')
    const controller = new AbortController()
    const reason = new Error('enough')
    const ended = rejection(run(near.transport, batch, { signal: controller.signal }))
    controller.abort(reason)
    expect(await ended).to.equal(reason)
    expect(near.engine.stats().inFlight).to.be.lessThan(3, 'the accept, and at most one lane without work')
  })
})

describe('stop', function () {
  this.timeout(10_000)
  afterEach(cleanUp)

  it('of the initiator ends its batches, and leaves nothing', async () => {
    const socketsBefore = openSockets()
    const [near, far] = [await startNode(), await startNode()]
    const [local, remote] = [regionOf(POOL_BYTES), regionOf(POOL_BYTES)]
    const { window } = expose(far.transport, remote)
    const batch = Array.from({ length: 40 }, () =>
      operation('write', local, window, { byteLength: POOL_BYTES }),
    )
    let stopped: Promise<void> | undefined
    const completions = await run(near.transport, batch, {
      onNext: () => {
        stopped ??= near.transport.stop()
      },
    })
    await stopped
    expect(new Set(codes(completions))).to.deep.equal(new Set(['OK', 'ERR_SHUTTING_DOWN']))
    expect(near.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
    expect(codes(await run(near.transport, [batch[0]!]))).to.deep.equal(['ERR_SHUTTING_DOWN'])
    await far.transport.stop()
    expect(far.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
    expect(openSockets()).to.equal(socketsBefore)
  })

  it('of the target lets asked frames end, and revokes', async () => {
    const [near, far] = [await startNode(), await startNode()]
    const [local, remote] = [regionOf(POOL_BYTES), regionOf(POOL_BYTES)]
    const { window } = expose(far.transport, remote)
    const batch = Array.from({ length: 40 }, () =>
      operation('write', local, window, { byteLength: POOL_BYTES }),
    )
    let stopped: Promise<void> | undefined
    const completions = await run(near.transport, batch, {
      onNext: () => {
        stopped ??= far.transport.stop().then(() => {
          bytesOf(remote).fill(9)
        })
      },
    })
    await stopped
    expect(new Set(codes(completions))).to.deep.equal(new Set(['OK', 'ERR_TRANSFER_FAIL']))
    expect(far.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
    expect(bytesOf(remote).equals(Buffer.alloc(POOL_BYTES, 9))).to.equal(true)
  })

  it('is bounded when a peer stands still', async () => {
    const near = await startNode({ stopTimeoutMs: 100 })
    const { child, window } = await startPeerProcess(POOL_BYTES)
    const batch = [operation('write', regionOf(POOL_BYTES), window, { byteLength: POOL_BYTES })]
    await run(near.transport, batch)
    child.kill('SIGSTOP')
    const ended = run(near.transport, batch)
    await near.transport.stop()
    expect(codes(await ended)[0]).to.be.oneOf(['ERR_TRANSFER_FAIL', 'ERR_SHUTTING_DOWN'])
    expect(near.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
  })

  it('while lanes are being opened does not hang', async () => {
    const [near, far] = [await startNode(), await startNode()]
    const region = regionOf(POOL_BYTES)
    const { window } = expose(far.transport, region)
    const ended = run(near.transport, [operation('read', region, window, { byteLength: POOL_BYTES })])
    await near.transport.stop()
    expect(codes(await ended)).to.deep.equal(['ERR_SHUTTING_DOWN'])
    expect(near.engine.stats()).to.include({ inFlight: 0, attachedSlots: 0 })
  })
})
