import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { randomUint32, until } from '@mooncake-ts/testkit'
import {
  bytesOf,
  cleanUp,
  codes,
  expose,
  isFilledWith,
  openThings,
  nothingMoreThan,
  operation,
  PeerProcess,
  plain,
  regionOf,
  run,
  socketDirectory,
  startNode,
} from './support.js'

const BYTES = mib(32)
const PIECE_BYTES = kib(512)
const OURS = 0x11
const THEIRS = 0x22
const LATER = 0x33
/** Of what runs for minutes under load and for seconds without. */
const PATIENT = { deadlineMs: 20_000 }

describe('the death of a process', function () {
  this.timeout(60_000)
  const directory = socketDirectory()
  afterEach(cleanUp)

  for (const seed of [1, 2, 3, 4]) {
    it(`that is read from does not hurt the reader, which gets whole bytes or an error: ${seed}`, async () => {
      const { transport } = await startNode({ socketDirectory: directory, copyRunBytes: PIECE_BYTES })
      const peer = new PeerProcess({ socketDirectory: directory })
      const window = await peer.expose(BYTES, THEIRS, 'read')
      const region = regionOf(BYTES, OURS)
      const before = openThings()
      let killAfter = randomUint32(seed)() % 100
      let wasKilled = false
      await until(async () => {
        const ops = Array.from({ length: BYTES / PIECE_BYTES }, (_, i) =>
          operation('read', region, window, i * PIECE_BYTES, PIECE_BYTES),
        )
        bytesOf(region).fill(OURS)
        const reading = new Promise<string[]>(resolve => {
          let ended = 0
          const result: string[] = []
          transport.execute(ops, { signal: new AbortController().signal }).subscribe({
            next: completion => {
              result[completion.index] = codes([completion])[0]!
              if (++ended === killAfter) {
                peer.kill('SIGKILL')
                wasKilled = true
              }
            },
            complete: () => {
              resolve(result)
            },
          })
        })
        const result = await reading
        expect(result).to.have.length(ops.length)
        result.forEach((code, i) => {
          const piece = region.view(i * PIECE_BYTES, PIECE_BYTES)
          if (code === 'OK') expect(isFilledWith(piece, THEIRS)).to.equal(true)
          else expect(code).to.equal('ERR_TRANSFER_FAIL')
        })
        if (!wasKilled) killAfter = 1
        return result.includes('ERR_TRANSFER_FAIL')
      }, PATIENT)
      await peer.exited
      await nothingMoreThan(before)
    })
  }

  for (const kind of ['read', 'write'] as const) {
    for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
      it(`by ${signal} in the middle of its ${kind}s holds up no revoke, and nothing comes later`, async () => {
        const { transport } = await startNode({ socketDirectory: directory })
        const region = regionOf(BYTES, OURS)
        const before = openThings()
        const exposure = expose(transport, region)
        const peer = new PeerProcess({ socketDirectory: directory })
        const window = plain(exposure.window)
        await peer.ask({ type: 'move', kind, window, byteLength: BYTES, fill: THEIRS, endless: true })
        if (kind === 'write') await until(() => bytesOf(region)[BYTES - 1] === THEIRS, PATIENT)
        peer.kill(signal)
        const begun = performance.now()
        await exposure.revoke()
        expect(performance.now() - begun).to.be.lessThan(5_000)
        bytesOf(region).fill(LATER)
        peer.kill('SIGCONT')
        if (signal === 'SIGSTOP') await peer.ask({ type: 'expose', byteLength: 1, fill: 0, access: 'read' })
        peer.kill('SIGKILL')
        await peer.exited
        expect(isFilledWith(bytesOf(region), LATER)).to.equal(true)
        await nothingMoreThan(before)
      })
    }
  }

  it('that is only stopped lets its memory be read, and a write to it be aborted', async () => {
    const { transport } = await startNode({ socketDirectory: directory, abortGraceMs: 50 })
    const peer = new PeerProcess({ socketDirectory: directory })
    const window = await peer.expose(mib(4), THEIRS)
    const region = regionOf(mib(4), OURS)
    expect(codes(await run(transport, [operation('read', region, window)]))).to.deep.equal(['OK'])
    peer.kill('SIGSTOP')
    bytesOf(region).fill(OURS)
    expect(codes(await run(transport, [operation('read', region, window)]))).to.deep.equal(['OK'])
    expect(isFilledWith(bytesOf(region), THEIRS)).to.equal(true)
    const reason = new Error('enough')
    const writing = run(transport, [operation('write', region, window)], AbortSignal.abort(reason))
    const controller = new AbortController()
    const posted = run(transport, [operation('write', region, window)], controller.signal)
    controller.abort(reason)
    const errors = await Promise.all([writing, posted].map(each => each.catch((error: unknown) => error)))
    expect(errors).to.deep.equal([reason, reason])
  })

  it('that is stopped for too long is noticed: what it owes fails', async () => {
    const { transport } = await startNode({ socketDirectory: directory, operationTimeoutMs: 200 })
    const peer = new PeerProcess({ socketDirectory: directory })
    const window = await peer.expose(mib(1), THEIRS)
    const region = regionOf(mib(1), OURS)
    expect(codes(await run(transport, [operation('read', region, window)]))).to.deep.equal(['OK'])
    peer.kill('SIGSTOP')
    const completions = await run(transport, [operation('write', region, window)])
    expect(codes(completions)).to.deep.equal(['ERR_TRANSFER_FAIL'])
  })
})
