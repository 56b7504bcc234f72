import { expect } from 'chai'
import {
  GenerationClock,
  MooncakeError,
  silentLogger,
  systemClock,
  type Completion,
  type Directory,
  type ExposeOptions,
  type Exposure,
  type ReadRoute,
  type Region,
  type Transport,
} from '@mooncake-ts/core'
import { rejectsWith, until, VirtualClock } from '@mooncake-ts/testkit'
import { Deadline } from '../../dist/engine/deadline.js'
import { LocalReads } from '../../dist/engine/local-reads.js'
import type { PeerRead, ReadOutcome } from '../../dist/engine/peer-reads.js'
import { Reader, type ReaderInit } from '../../dist/engine/reader.js'
import { KeyLocks } from '../../dist/local/key-locks.js'
import { LeaseTable } from '../../dist/local/leases.js'
import { Committer } from '../../dist/peers/committer.js'
import { Unannounced } from '../../dist/peers/unannounced.js'
import { ForwardSessions } from '../../dist/peers/forward-sessions.js'
import { RouteCache } from '../../dist/routes/route-cache.js'
import { RouteNotifier } from '../../dist/routes/route-notifier.js'
import { Novelty } from '../../dist/routes/novelty.js'
import { Router } from '../../dist/routes/router.js'
import { WriteLeases } from '../../dist/routes/write-leases.js'
import { Suspects } from '../../dist/routes/suspects.js'
import { Admission } from '../../dist/transfer/admission.js'
import { Announcement } from '../../dist/transfer/announcement.js'
import { Harness, metaOf, poisonTier, settled } from '../local/support/harness.js'
import { MapTier } from '../local/support/tiers.js'

/** A transport that counts what it exposes and has not taken back, and that can refuse. */
class CountingTransport {
  open = 0
  refuses = false
  readonly scheme = 'counting'
  readonly supports = { revoke: true, remote: false }

  get asTransport(): Transport {
    return this as unknown as Transport
  }

  expose(_region: Region, _options: ExposeOptions): Exposure {
    if (this.refuses) throw new MooncakeError('ERR_SHUTTING_DOWN')
    this.open++
    const window = { scheme: this.scheme, endpoint: 'nowhere', key: new Uint8Array(1) }
    return { window, revoke: async () => void (await Promise.resolve(this.open--)) }
  }
}

/** What the directory heard, in order. */
function directoryThatHears(heard: string[], results: string[] = []): Directory {
  return {
    syncReplicas: (adds: readonly { key: string }[], removes: readonly { key: string }[]) => {
      heard.push(...adds.map(({ key }) => `+${key}`), ...removes.map(({ key }) => `-${key}`))
      return Promise.resolve(adds.map(() => results.shift() ?? 'ok'))
    },
  } as unknown as Directory
}

describe('Committer', () => {
  /** A directory that answers when it is let to. */
  function committerOf({ backend, clock }: Harness, results: string[], heard: string[] = []) {
    let answer!: () => void
    const asked = new Promise<void>(resolve => (answer = resolve))
    const inner = directoryThatHears(heard, results)
    const syncReplicas: Directory['syncReplicas'] = async (...args) => {
      await asked
      return await inner.syncReplicas(...args)
    }
    const notifier = new RouteNotifier({ syncReplicas } as Directory, clock, silentLogger)
    const unannounced = new Unannounced()
    const locks = new KeyLocks()
    const generations = new GenerationClock(clock)
    const known: string[] = []
    const onKnown = (key: string): void => {
      known.push(key)
    }
    const parts = { backend, notifier, unannounced, locks, generations, nodeName: 'n', onKnown }
    return { committer: new Committer(parts), unannounced, notifier, answer, known }
  }

  it('shows nobody a put before the directory has answered, and drops it where that says no', async () => {
    await using harness = Harness.dram(1000)
    const { committer, unannounced, answer, known } = committerOf(harness, ['stale'])
    const first = committer.commit(harness.space(10), metaOf('k', 10), 'put')
    await settled()
    expect(unannounced.has('k')).to.equal(true)
    const abort = new AbortController()
    const impatient = unannounced.answered([{ key: 'k' }], abort.signal)!
    abort.abort(new MooncakeError('ERR_SHUTTING_DOWN'))
    await rejectsWith(impatient, 'ERR_SHUTTING_DOWN')
    const second = committer.commit(harness.space(10), metaOf('k', 10), 'put')
    const waited = unannounced.answered([{ key: 'other' }, { key: 'k' }])!
    answer()
    await waited
    expect(harness.backend.has('k')).to.equal(false)
    expect(await Promise.all([first, second])).to.deep.equal([true, true])
    expect(known).to.deep.equal([])
    expect(unannounced.answered([{ key: 'k' }])).to.equal(undefined)
  })

  it('says in the end that an object is gone which went before it was announced', async () => {
    await using harness = Harness.dram(1000)
    const heard: string[] = []
    const { committer, notifier, answer } = committerOf(harness, [], heard)
    const { name } = harness.backend.tierViews()[0]!.tier
    const put = committer.commit(harness.space(10), metaOf('gone', 10), 'put')
    await until(() => notifier.pending > 0)
    harness.backend.remove('gone')
    notifier.remove({ key: 'gone', generation: metaOf('gone', 10).generation, segment: `n/${name}` })
    answer()
    expect(await put).to.equal(false)
    await notifier.close()
    expect(heard.at(-1)).to.equal('-gone')
  })
})

describe('Committer, of many', () => {
  /** A directory that keeps puts of these keys away, or that cannot be reached. */
  function committerOf({ backend, clock }: Harness, stale: ReadonlySet<string> | 'away') {
    const known: string[] = []
    const unannounced = new Unannounced()
    const syncReplicas = (adds: readonly { key: string }[]) =>
      stale === 'away'
        ? Promise.reject(new MooncakeError('ERR_MASTER_UNAVAILABLE'))
        : Promise.resolve(adds.map(({ key }) => (stale.has(key) ? 'stale' : 'ok')))
    const notifier = new RouteNotifier({ syncReplicas } as unknown as Directory, clock, silentLogger)
    const committer = new Committer({
      backend,
      notifier,
      unannounced,
      locks: new KeyLocks(),
      generations: new GenerationClock(clock),
      nodeName: 'n',
      onKnown: key => void known.push(key),
    })
    return { committer, unannounced, notifier, known }
  }

  it('gives each its own outcome, whichever tier it went to and whatever the directory says', async () => {
    const ssd = new MapTier(1000)
    await using harness = new Harness(memory => [poisonTier(memory, 1000), ssd])
    const { backend } = harness
    await harness.put('here', 10)
    const { committer, unannounced, known } = committerOf(harness, new Set(['b', 'slow-stale']))
    const commitOf = (key: string, tier: string, byteLength = 10) => ({
      reservation: backend.reserveNow(10, tier)!,
      meta: metaOf(key, byteLength),
    })
    ssd.hold = true
    const committing = committer.commitMany(
      [
        commitOf('a', 'dram-0'),
        commitOf('slow', 'ssd-0'),
        commitOf('b', 'dram-0'),
        commitOf('slow-stale', 'ssd-0'),
        commitOf('here', 'dram-0'),
        commitOf('wrong', 'dram-0', 11),
        commitOf('c', 'dram-0'),
      ],
      'put',
    )
    await until(() => known.length === 2)
    expect(known, 'those in memory need not wait for the others').to.deep.equal(['a', 'c'])
    ssd.letGo()
    const outcomes = await committing
    expect(outcomes.map(({ existed }) => existed)).to.deep.equal([
      ...[false, false, true, true, true],
      ...[false, false],
    ])
    const codes = outcomes.map(({ error }) => (error as MooncakeError | undefined)?.code)
    expect(codes.filter(code => code != null)).to.deep.equal(['ERR_INVALID_PARAMS'])
    expect(codes[5]).to.equal('ERR_INVALID_PARAMS')
    const keys = ['a', 'slow', 'b', 'slow-stale', 'here', 'wrong', 'c']
    expect(keys.filter(key => backend.has(key))).to.deep.equal(['a', 'slow', 'here', 'c'])
    expect(keys.some(key => unannounced.has(key))).to.equal(false)
  })

  it('keeps what it cannot tell the directory of: it is told again', async () => {
    await using harness = Harness.dram(1000)
    const { committer, notifier } = committerOf(harness, 'away')
    const commits = ['a', 'b'].map(key => ({ reservation: harness.space(10), meta: metaOf(key, 10) }))
    const outcomes = await committer.commitMany(commits, 'put')
    expect(outcomes).to.deep.equal([{ existed: false }, { existed: false }])
    await settled()
    expect([harness.backend.has('a'), harness.backend.has('b'), notifier.pending]).to.deep.equal([
      true,
      true,
      2,
    ])
    await notifier.close()
  })
})

describe('RouteNotifier, of what the directory ordered to remove', () => {
  const replica = { key: 'k', generation: 1, segment: 's' }

  it('withdraws what it has not said yet, and says nothing of what is known', async () => {
    const heard: string[] = []
    const notifier = new RouteNotifier(directoryThatHears(heard), systemClock, silentLogger)
    await notifier.add({ ...replica, byteLength: 1 })
    await settled()
    notifier.withdraw(replica)
    expect(notifier.pending).to.equal(0)
    const added = notifier.add({ ...replica, generation: 2, byteLength: 1 })
    notifier.withdraw({ ...replica, generation: 2 })
    expect(await added).to.equal(false)
    await notifier.close()
    expect(heard).to.deep.equal(['+k', '-k'])
  })

  it('takes back what it is just saying', async () => {
    const heard: string[] = []
    const inner = directoryThatHears(heard)
    let answer!: () => void
    const slow = new Promise<void>(resolve => (answer = resolve))
    const directory = {
      syncReplicas: async (...args: Parameters<Directory['syncReplicas']>) => {
        const results = await inner.syncReplicas(...args)
        await slow
        return results
      },
    } as unknown as Directory
    const notifier = new RouteNotifier(directory, systemClock, silentLogger)
    void notifier.add({ ...replica, byteLength: 1 })
    await until(() => heard.length === 1)
    notifier.withdraw(replica)
    answer()
    await notifier.close()
    expect(heard).to.deep.equal(['+k', '-k'])
  })

  it('gives up a replica that is refused when it is told again', async () => {
    const clock = new VirtualClock()
    const refused: string[] = []
    let calls = 0
    const directory = {
      syncReplicas: () =>
        ++calls === 1 ? Promise.reject(new MooncakeError('ERR_RPC_FAIL')) : Promise.resolve(['stale']),
    } as unknown as Directory
    const notifier = new RouteNotifier(directory, clock, silentLogger, ({ key }) => void refused.push(key))
    expect(await notifier.add({ ...replica, byteLength: 1 })).to.equal(false)
    await until(async () => {
      await clock.advance(100)
      return notifier.pending === 0 && calls === 2
    })
    await notifier.close()
    expect(refused).to.deep.equal(['k'])
  })
})

describe('windows on memory', () => {
  const transports = (): [CountingTransport, CountingTransport] => [
    new CountingTransport(),
    new CountingTransport(),
  ]

  it('are all taken back when one transport refuses, before anybody is told of them', async () => {
    await using harness = Harness.dram(1000)
    const [a, b] = transports()
    b.refuses = true
    const slices = [harness.bytes(10, 1), harness.bytes(10, 2)]
    expect(() => new Announcement([a.asTransport, b.asTransport], slices, 'read')).to.throw()
    await until(() => a.open === 0)
  })

  it('and the hold on an object too, when a pin fails', async () => {
    await using harness = Harness.dram(1000)
    await harness.put('k', 10)
    const [a, b] = transports()
    const { backend, clock } = harness
    const sessions = new ForwardSessions({
      backend,
      committer: undefined as unknown as Committer,
      unannounced: new Unannounced(),
      transports: [a.asTransport, b.asTransport],
      logger: silentLogger,
      writes: new LeaseTable({ clock, exclusive: true }),
      pins: new LeaseTable({ clock, leasesMax: 1 }),
      keyLeaseMs: 1000,
    })
    b.refuses = true
    expect(sessions.pinKeys(['k'])[0]!.code).to.equal('ERR_SHUTTING_DOWN')
    await until(() => a.open === 0)
    b.refuses = false
    const [pinned, refused] = sessions.pinKeys(['k', 'k'])
    expect([pinned!.code, refused!.code]).to.deep.equal([undefined, 'ERR_OVERLOADED'])
    await until(() => a.open === 1 && b.open === 1)
    await sessions.close()
    await backend.close() // Would wait for a hold that leaked.
  })
})

describe('Reader', () => {
  const replicaOf = (nodeId: string) => ({ nodeId, rpcEndpoint: `${nodeId}:1`, segment: `${nodeId}/dram` })
  const routeTo = (...nodeIds: string[]): ReadRoute => ({
    byteLength: 10,
    generation: 1,
    replicas: nodeIds.map(replicaOf),
  })

  /** Near: the peer was not asked for it. */
  type Answer = ReadOutcome & { readonly near?: boolean }

  /** A reader on the node `self`; `ask` is what its peers answer, `find` what the directory does. */
  function readerOn(
    harness: Harness,
    ask: (endpoint: string) => Promise<Answer> | Answer,
    find: () => ReadRoute | undefined,
  ): (key: string) => Promise<Completion> {
    const { backend, memory, clock } = harness
    const directory = {
      state: 'connected',
      readRoutes: (keys: readonly string[]) => Promise.resolve(keys.map(find)),
      reportStale: () => Promise.resolve(),
    } as unknown as Directory
    const reader = new Reader({
      backend,
      memory,
      local: new LocalReads(backend, new Unannounced(), memory),
      peers: {
        read: async (endpoint: unknown): Promise<PeerRead> => {
          try {
            const outcome = await ask(endpoint as string)
            return { outcomes: [outcome], asked: outcome.near === true ? [] : [0] }
          } catch (cause) {
            const error = cause as Error
            return { outcomes: [{ byteLength: 0, error }], asked: [0], error }
          }
        },
      },
      peer: (endpoint: string) => endpoint,
      router: new Router({
        directory,
        cache: new RouteCache(clock, { keysMax: 10, ttlMs: 1000 }),
        generations: new GenerationClock(clock),
        suspects: new Suspects(clock),
        novelty: new Novelty(clock),
        leases: new WriteLeases(directory, clock),
        logger: silentLogger,
      }),
      admission: new Admission({ inflightBytesMax: 1000, queuedOpsMax: 10 }),
      nodeId: 'self',
    } as unknown as ReaderInit)
    return async key => {
      using deadline = new Deadline(clock, 1000, undefined)
      const completions: Completion[] = []
      const terms = { deadline, verify: false }
      await reader.run([key], [harness.bytes(10, 0)], terms, c => void completions.push(c))
      expect(completions.length, 'one completion').to.equal(1)
      return completions[0]!
    }
  }

  it('finds here what has moved here while it asked elsewhere', async () => {
    await using harness = Harness.dram(1000)
    const routes = [routeTo('other'), routeTo('self')]
    const read = readerOn(
      harness,
      async () => {
        await harness.put('k', 10)
        return { byteLength: 0, error: new MooncakeError('ERR_OBJECT_NOT_FOUND') }
      },
      () => routes.shift(),
    )
    expect(await read('k')).to.deep.equal({ index: 0, bytes: 10 })
  })

  it('ends in a miss where the only route names a node that has lost the object: itself', async () => {
    await using harness = Harness.dram(1000)
    const read = readerOn(
      harness,
      () => {
        throw new Error('Nobody is to be asked')
      },
      () => routeTo('self'),
    )
    const { error } = await read('k')
    await rejectsWith(Promise.reject(error ?? new Error('It was found')), 'ERR_OBJECT_NOT_FOUND')
  })

  it('goes on to the next replica after any failure of a node, and stops at a fault of the request', async () => {
    await using harness = Harness.dram(1000)
    for (const [code, asked] of [
      ['ERR_IO', 2],
      ['ERR_NOT_SUPPORTED', 2],
      ['ERR_BUFFER_OVERFLOW', 1],
    ] as const) {
      const endpoints: string[] = []
      const read = readerOn(
        harness,
        endpoint => {
          endpoints.push(endpoint)
          return endpoint === 'a:1' ? { byteLength: 10, error: new MooncakeError(code) } : { byteLength: 10 }
        },
        () => routeTo('a', 'b'),
      )
      const { error } = await read('k')
      expect([code, endpoints.length, error == null]).to.deep.equal([code, asked, asked === 2])
    }
  })

  it('asks the directory first where the cache knows only nodes that have failed lately', async () => {
    await using harness = Harness.dram(1000)
    const endpoints: string[] = []
    const routes = [routeTo('a'), routeTo('a'), undefined, routeTo('b')]
    const read = readerOn(
      harness,
      endpoint => {
        endpoints.push(endpoint)
        if (endpoint === 'a:1' && endpoints.length > 2) throw new MooncakeError('ERR_RPC_FAIL')
        return { byteLength: 10 }
      },
      () => routes.shift(),
    )
    for (const key of ['k', 'l', 'k', 'l']) await read(key)
    expect(endpoints).to.deep.equal(['a:1', 'a:1', 'a:1', 'b:1'])
  })

  it('does not take a node for answering whose memory it has read', async () => {
    await using harness = Harness.dram(1000)
    const endpoints: string[] = []
    const routes = [routeTo('a', 'b'), routeTo('a'), routeTo('a', 'b')]
    const read = readerOn(
      harness,
      endpoint => {
        endpoints.push(endpoint)
        if (endpoints.length === 1) throw new MooncakeError('ERR_RPC_TIMEOUT')
        return { byteLength: 10, near: endpoint === 'a:1' }
      },
      () => routes.shift(),
    )
    for (const key of ['k', 'l', 'm']) expect((await read(key)).error).to.equal(undefined)
    expect(endpoints).to.deep.equal(['a:1', 'b:1', 'a:1', 'b:1'])
  })
})
