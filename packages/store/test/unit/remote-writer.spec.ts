import { expect } from 'chai'
import { GenerationClock, MooncakeError, silentLogger, type Directory } from '@mooncake-ts/core'
import { KeyLocks } from '../../dist/local/key-locks.js'
import { Committer } from '../../dist/peers/committer.js'
import { RemoteWriter, type WriteRequest } from '../../dist/peers/remote-writer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { WritesInFlight } from '../../dist/peers/writes-in-flight.js'
import { RouteNotifier } from '../../dist/routes/route-notifier.js'
import type { SubmitOp, TransferSubmitter } from '../../dist/transfer/submitter.js'
import { Harness, metaOf, NEVER, settled } from '../local/support/harness.js'

const requestOf = (...keys: string[]): WriteRequest => ({
  regions: [],
  items: keys.map((key, i) => ({ key, byteLength: 10, generation: 100 + i, parts: [0, 0, 10] })),
  upsert: false,
  softPin: false,
  hardPin: false,
  waitMs: 0,
})

/** An owner that pulls bytes as `pull` says. */
function ownerOf({ backend, clock }: Harness, pull: () => Promise<Error | undefined>) {
  const directory = { syncReplicas: (adds: readonly unknown[]) => Promise.resolve(adds.map(() => 'ok')) }
  const unannounced = new Unannounced()
  const committer = new Committer({
    backend,
    notifier: new RouteNotifier(directory as unknown as Directory, clock, silentLogger),
    unannounced,
    locks: new KeyLocks(),
    generations: new GenerationClock(clock),
    nodeName: 'n',
    onKnown: () => {},
  })
  const submitter = {
    submit: async (ops: readonly SubmitOp[], _signal: AbortSignal, onEnd: (i: number, e?: Error) => void) => {
      const error = await pull()
      ops.forEach((_, index) => {
        onEnd(index, error)
      })
    },
  } as unknown as TransferSubmitter
  const staging = undefined as never
  const writes = new WritesInFlight()
  const writer = new RemoteWriter({
    backend,
    submitter,
    staging,
    committer,
    writes,
    unannounced,
    nodeId: 'me',
  })
  return { writer, unannounced }
}

describe('an owner that pulls objects', () => {
  it('commits nothing for a caller that has given up, also where it hears of that only now', async () => {
    await using harness = Harness.dram(40)
    const { backend } = harness
    const abort = new AbortController()
    const { writer } = ownerOf(harness, () => {
      // As when the end of the pull and the cancel have waited together for a loop that stood still.
      setImmediate(() => {
        abort.abort(new MooncakeError('ERR_RPC_TIMEOUT'))
      })
      return Promise.resolve(undefined)
    })
    const results = await writer.serve(requestOf('a', 'b'), abort.signal)
    expect(results.map(({ code }) => code)).to.deep.equal(['ERR_RPC_TIMEOUT', 'ERR_RPC_TIMEOUT'])
    expect(backend.has('a') || backend.has('b')).to.equal(false)
    harness.space(40).abandon() // There is room again.
  })

  it('says that a key exists only when the directory has said so, also after an earlier write failed', async () => {
    await using harness = Harness.dram(100)
    let fail!: () => void
    const pulled = new Promise<Error>(resolve => {
      fail = () => {
        resolve(new MooncakeError('ERR_TRANSFER_FAIL'))
      }
    })
    const { writer, unannounced } = ownerOf(harness, () => pulled)
    const first = writer.serve(requestOf('k'), NEVER)
    let second: unknown
    const asked = writer.serve(requestOf('k'), NEVER).then(results => (second = results))
    let answer!: () => void
    unannounced.track(['k'], new Promise<void>(resolve => (answer = resolve)))
    harness.backend.commitNow(harness.space(10), metaOf('k', 10), 'put')
    fail()
    expect((await first)[0]!.code).to.equal('ERR_TRANSFER_FAIL')
    await settled()
    expect(second).to.equal(undefined)
    answer()
    expect(await asked).to.deep.equal([{ existed: true }])
  })
})
