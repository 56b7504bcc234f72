import { expect } from 'chai'
import type { RpcHandler, RpcMethod, RpcService } from '@mooncake-ts/core'
import { LocalReads } from '../../dist/engine/local-reads.js'
import { ClientRpcService, type DataManager } from '../../dist/peers/client-rpc-service.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Harness, metaOf, NEVER, settled } from '../local/support/harness.js'

type Handle = RpcHandler<unknown, unknown>

/** The answer of a directory, when a test lets it. */
function answerLater(): { promise: Promise<void>; come: () => void } {
  let come!: () => void
  const promise = new Promise<void>(resolve => (come = resolve))
  return { promise, come }
}

describe('Unannounced', () => {
  it('looks again after every wait, and acts in the same step as the last look', async () => {
    const unannounced = new Unannounced()
    const [first, second] = [answerLater(), answerLater()]
    const seen: string[] = []
    const act = (): void => {
      seen.push('acted')
      unannounced.track(['k'], answerLater().promise) // From here on it must not act any more.
    }
    unannounced.track(['k'], first.promise)
    const acted = unannounced.whenAnswered([{ key: 'k' }], act)
    void first.promise.then(() => {
      unannounced.track(['k'], second.promise) // The first was refused, and here is the next put.
    })
    first.come()
    await settled()
    expect(seen).to.deep.equal([])
    second.come()
    await acted
    expect(seen).to.deep.equal(['acted'])
  })

  it('acts at once and without a promise where nothing is to be waited for', () => {
    const unannounced = new Unannounced()
    unannounced.track(['other'], answerLater().promise)
    expect(unannounced.whenAnswered([{ key: 'k' }], () => 1)).to.equal(1)
  })

  const request = { regions: [], items: [{ key: 'k', parts: [] }], keys: ['k'], capacities: [100] }
  for (const [name, read] of [
    ['Client.ReadRemoteData', 'reader'],
    ['Client.ReadInline', 'inlineReader'],
    ['Client.PinKey', 'sessions'],
  ] as const) {
    it(`keeps what is committed right behind a ${name} from its reader`, async () => {
      const unannounced = new Unannounced()
      const handlers = new Map<string, Handle>()
      const rpc = {
        handle: (method: RpcMethod<unknown, unknown>, handler: Handle) => handlers.set(method.name, handler),
      } as unknown as RpcService
      let sawUnannounced: boolean | undefined
      const look = (): unknown => {
        sawUnannounced = unannounced.has('k')
        return []
      }
      const service = { serve: look, pinKeys: look, letGo: () => {} }
      new ClientRpcService(rpc, { unannounced, [read]: service } as unknown as DataManager)
      const answered = handlers.get(name)!(request, { signal: NEVER } as Parameters<Handle>[1])
      unannounced.track(['k'], answerLater().promise)
      await answered
      expect(sawUnannounced).to.equal(false)
    })
  }

  it('keeps what is committed right behind a local read from it', async () => {
    await using harness = Harness.dram(100)
    const unannounced = new Unannounced()
    const reads = new LocalReads(harness.backend, unannounced, harness.memory)
    const read = reads.read([{ key: 'k', target: harness.bytes(10, 0) }], NEVER)
    harness.backend.commitNow(harness.space(10), metaOf('k', 10), 'put')
    unannounced.track(['k'], answerLater().promise)
    expect(await read).to.deep.equal([undefined])
  })
})
