import { expect } from 'chai'
import { GenerationClock, MooncakeError, silentLogger } from '@mooncake-ts/core'
import type { Completion, Directory, WriteRouteRequest } from '@mooncake-ts/core'
import { VirtualClock } from '@mooncake-ts/testkit'
import { Deadline } from '../../dist/engine/deadline.js'
import type { WriteOutcome, WriteTask } from '../../dist/engine/peer-writes.js'
import { Writer, type WriterInit } from '../../dist/engine/writer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { Novelty } from '../../dist/routes/novelty.js'
import { RouteCache } from '../../dist/routes/route-cache.js'
import { Router } from '../../dist/routes/router.js'
import { Suspects } from '../../dist/routes/suspects.js'
import { WriteLeases } from '../../dist/routes/write-leases.js'
import { Admission } from '../../dist/transfer/admission.js'

const INLINE_BYTES_MAX = 1000
const LARGE_BYTES = 10_000
const FIRST_LEASED = 1_000_000

const candidate = { nodeId: 'n', nodeName: 'n', rpcEndpoint: 'n:1', availableBytes: 1e9, score: 1 }

/** A writer that has a lease, on a client without tiers; `ask` is what its only peer answers. */
async function start(ask: (kind: 'leased' | 'routed', tasks: readonly WriteTask[]) => WriteOutcome[]) {
  const clock = new VirtualClock()
  const said: string[] = []
  const existing = new Set<string>()
  const replica = { nodeId: 'n', rpcEndpoint: 'n:1', segment: 'n/dram' }
  const directory = {
    state: 'connected',
    writeRoutes: (requests: readonly WriteRouteRequest[]) => {
      said.push(`route ${requests.map(({ key }) => key).join()}`)
      return Promise.resolve(
        requests.map(({ key }, i) => ({
          candidates: [candidate],
          generation: i + 1,
          ...(existing.has(key) ? { existing: { byteLength: 1, generation: 1, replicas: [replica] } } : {}),
        })),
      )
    },
    leaseWrites: () => Promise.resolve({ firstGeneration: FIRST_LEASED, candidates: [candidate] }),
  } as unknown as Directory
  const leases = new WriteLeases(directory, clock)
  const answer = (kind: 'leased' | 'routed') => async (_peer: unknown, tasks: readonly WriteTask[]) => {
    said.push(`${kind} ${tasks.map(({ key }) => key).join()}`)
    for (const { generation } of tasks) expect(generation >= FIRST_LEASED).to.equal(kind === 'leased')
    return await Promise.resolve(ask(kind, tasks))
  }
  const writer = new Writer({
    backend: { has: () => false },
    unannounced: new Unannounced(),
    peers: { reversible: true, write: answer('routed'), writeLeased: answer('leased') },
    peer: (endpoint: string) => endpoint,
    router: new Router({
      directory,
      cache: new RouteCache(clock, { keysMax: 10, ttlMs: 1000 }),
      generations: new GenerationClock(clock),
      suspects: new Suspects(clock),
      novelty: new Novelty(clock),
      leases,
      logger: silentLogger,
    }),
    admission: new Admission({ inflightBytesMax: 1e6, queuedOpsMax: 10 }),
    inlineBytesMax: INLINE_BYTES_MAX,
    self: { nodeId: 'self', rpcEndpoint: '' },
    hasTiers: false,
  } as unknown as WriterInit)
  const put = async (...keys: string[]): Promise<string[]> => {
    using deadline = new Deadline(clock, 1000, undefined)
    leases.take(0, () => false)
    await Promise.resolve() // Of the lease.
    const completions: Completion[] = []
    const terms = { deadline, upsert: false, replicaNum: 1, softPin: false, hardPin: false }
    const objects = keys.map(key => ({ key, parts: [], byteLength: LARGE_BYTES, checksum: undefined }))
    await writer.run(objects, { ...terms, preferredSegments: [] }, c => void completions.push(c))
    expect(completions.map(({ index }) => index).sort()).to.deep.equal(keys.map((_, i) => i))
    for (const { error } of completions) expect(error).to.equal(undefined)
    return said.splice(0)
  }
  return { clock, put, existing }
}

const written = (tasks: readonly WriteTask[]) => tasks.map(() => ({ existed: false }))

describe('Writer, of large objects', () => {
  it('asks for no route where there is a lease', async () => {
    const { put } = await start((_kind, tasks) => written(tasks))
    expect(await put('a', 'b')).to.deep.equal(['leased a,b'])
    expect(await put('c')).to.deep.equal(['leased c'])
  })

  it('asks for a route again while keys exist, because the bytes would move in vain', async () => {
    const known = await start((_kind, tasks) => tasks.map(({ key }) => ({ existed: key === 'there' })))
    expect(await known.put('there')).to.deep.equal(['leased there'])
    expect(await known.put('again')).to.deep.equal(['route again', 'routed again'])
    await known.clock.advance(1001)
    expect(await known.put('later')).to.deep.equal(['leased later'])
  })

  it('takes only success for final', async () => {
    const expired = new MooncakeError('ERR_LEASE_EXPIRED', 'Another value may be there')
    const { put, existing } = await start((kind, tasks) =>
      kind === 'leased' ? tasks.map(() => ({ existed: false, error: expired })) : written(tasks),
    )
    expect(await put('a')).to.deep.equal(['leased a', 'route a', 'routed a'])
    existing.add('b')
    expect(await put('b')).to.deep.equal(['leased b', 'route b'])
    expect(await put('c'), 'b existed').to.deep.equal(['route c', 'routed c'])
  })

  it('asks for a route at owners of a version without such leases, from the second time on at once', async () => {
    const { put } = await start((kind, tasks) => {
      if (kind === 'leased') throw new MooncakeError('ERR_RPC_METHOD_UNKNOWN')
      return written(tasks)
    })
    expect(await put('a')).to.deep.equal(['leased a', 'route a', 'routed a'])
    expect(await put('b')).to.deep.equal(['route b', 'routed b'])
  })

  it('keeps what succeeded, and asks for a route for the rest', async () => {
    const { put } = await start((kind, tasks) =>
      tasks.map(({ key }) =>
        kind === 'leased' && key === 'b'
          ? { existed: false, error: new MooncakeError('ERR_NO_AVAILABLE_HANDLE') }
          : { existed: false },
      ),
    )
    expect(await put('a', 'b', 'c')).to.deep.equal(['leased a,b,c', 'route b', 'routed b'])
  })
})
