import { asMooncakeError, hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Completion, MemoryProvider, ReadRoute, ReplicaRoute, Slice } from '@mooncake-ts/core'
import type { TieredBackend } from '../local/tiered-backend.js'
import type { PeerClient } from '../peers/peer-client.js'
import type { Router } from '../routes/router.js'
import type { Admission } from '../transfer/admission.js'
import { firstBytes } from '../transfer/slices.js'
import { isFaultOfRequest } from './arguments.js'
import { checksumOf } from './checksum.js'
import { chunksOf, groupBy } from './chunks.js'
import type { Deadline } from './deadline.js'
import type { LocalReads } from './local-reads.js'
import type { PeerReads, ReadOutcome } from './peer-reads.js'

/**
 * How often the directory is asked for one key in one call: for a route, and once more when that one led
 * nowhere.
 */
const LOOK_UPS_MAX = 2

interface Read {
  readonly index: number
  readonly key: string
  readonly target: Slice
  route?: ReadRoute | undefined
  lookUps: number
  /** Nodes that failed since the last look-up. */
  readonly tried: Set<string>
  error?: Error
}

export interface ReaderInit {
  readonly backend: TieredBackend
  readonly local: LocalReads
  readonly peers: PeerReads
  readonly peer: (endpoint: string) => PeerClient
  readonly router: Router
  readonly admission: Admission
  readonly memory: MemoryProvider
  /** This process; its own replicas are read without a network. */
  readonly nodeId: string
}

export interface ReadTerms {
  readonly deadline: Deadline
  readonly verify: boolean
}

/**
 * Gets a batch of objects: from this node's tiers, else from the first owner that can, going on to the next
 * replica when one fails.
 */
export class Reader {
  readonly #init: ReaderInit

  constructor(init: ReaderInit) {
    this.#init = init
  }

  /**
   * `emit` is called once per key, when its slice is at rest. Rejects with the signal's reason when that
   * aborts; then all is at rest too.
   */
  async run(
    keys: readonly string[],
    targets: readonly Slice[],
    terms: ReadTerms,
    emit: (c: Completion) => void,
  ): Promise<void> {
    const reads = keys.map((key, index): Read => ({
      index,
      key,
      target: targets[index]!,
      lookUps: 0,
      tried: new Set(),
    }))
    let left = await this.#readHere(reads, terms, emit)
    for (const read of left) read.route = this.#init.router.promising(read.key)
    terms.deadline.signal.throwIfAborted()
    while (left.length > 0) {
      const routed = await this.#route(left, terms, emit)
      const elsewhere = await this.#readHere(routed, terms, emit) // Since it was looked for it may have come here.
      left = await this.#round(elsewhere, terms, emit)
      terms.deadline.signal.throwIfAborted()
    }
  }

  /** Those that this node does not hold, or could not read. */
  async #readHere(reads: readonly Read[], terms: ReadTerms, emit: (c: Completion) => void): Promise<Read[]> {
    const { local, nodeId } = this.#init
    const here = reads.filter(read => this.#isHere(read))
    if (here.length === 0) return [...reads]
    const outcomes = await local.read(here, terms.deadline.signal)
    const elsewhere = new Set(reads)
    await Promise.all(
      here.map(async (read, position) => {
        read.tried.add(nodeId)
        const outcome = outcomes[position]
        if (outcome == null) return // Gone meanwhile.
        if (await this.#settle(read, outcome, terms, emit)) elsewhere.delete(read)
      }),
    )
    return [...elsewhere]
  }

  /** Gives every read a replica that has not been tried, by its route or here, or ends it. */
  async #route(
    reads: readonly Read[],
    { deadline }: ReadTerms,
    emit: (c: Completion) => void,
  ): Promise<Read[]> {
    const end = (read: Read, error: Error): void => {
      emit({ index: read.index, bytes: 0, error })
    }
    const unknown: Read[] = []
    const routed: Read[] = []
    for (const read of reads) {
      if (this.#isHere(read) || this.#nextReplica(read) != null) routed.push(read)
      else if (read.lookUps < LOOK_UPS_MAX) unknown.push(read)
      else end(read, read.error ?? notFound(read.key))
    }
    if (unknown.length === 0) return routed
    try {
      const routes = await this.#init.router.lookUp(
        unknown.map(read => read.key),
        deadline.signal,
      )
      unknown.forEach((read, position) => {
        read.route = routes[position]
        read.lookUps++
        read.tried.clear()
        if (this.#isHere(read) || this.#nextReplica(read) != null) routed.push(read)
        else end(read, read.error ?? notFound(read.key))
      })
    } catch (error) {
      deadline.signal.throwIfAborted()
      for (const read of unknown) end(read, read.error ?? asMooncakeError(error))
    }
    return routed
  }

  /** Asks each owner for its part; gives back what has to be tried elsewhere. */
  async #round(reads: readonly Read[], terms: ReadTerms, emit: (c: Completion) => void): Promise<Read[]> {
    const byOwner = groupBy(reads, read => this.#nextReplica(read)?.rpcEndpoint)
    const lost = byOwner.get(undefined) ?? [] // They were to be read here, and could not.
    byOwner.delete(undefined)
    const chunks = [...byOwner].flatMap(([endpoint, owned]) =>
      chunksOf(owned, read => read.route!.byteLength).map(chunk => ({ endpoint: endpoint!, chunk })),
    )
    const retries = await Promise.all(
      chunks.map(({ endpoint, chunk }) => this.#readChunk(endpoint, chunk, terms, emit)),
    )
    return [...lost, ...retries.flat()]
  }

  async #readChunk(
    endpoint: string,
    chunk: readonly Read[],
    terms: ReadTerms,
    emit: (c: Completion) => void,
  ): Promise<Read[]> {
    const { admission, peers, peer, router } = this.#init
    const { signal } = terms.deadline
    let bytes = 0
    for (const read of chunk) bytes += read.route!.byteLength
    let outcomes: ReadOutcome[]
    const owners = chunk.map(read => this.#nextReplica(read)!.nodeId) // Of one endpoint, but perhaps of two lives.
    try {
      const options = { signal, deadlineMs: this.#attemptMs(chunk, terms) }
      outcomes = await admission.run(bytes, signal, () => peers.read(peer(endpoint), chunk, bytes, options))
      for (const nodeId of owners) router.suspects.answered(nodeId)
    } catch (error) {
      for (const nodeId of owners) router.suspects.failed(nodeId, error)
      if (signal.aborted) return [] // The other chunks come to rest first; then the whole call ends.
      const failure = asMooncakeError(error)
      outcomes = chunk.map(() => ({ error: failure, byteLength: 0 }))
    }
    const again: Read[] = []
    const stale: Array<{ key: string; nodeId: string; generation: number }> = []
    for (const [position, read] of chunk.entries()) {
      const nodeId = owners[position]!
      const outcome = outcomes[position]!
      if (await this.#settle(read, outcome, terms, emit)) continue
      again.push(read)
      read.tried.add(nodeId)
      if (hasCode(outcome.error, 'ERR_OBJECT_NOT_FOUND'))
        stale.push({ key: read.key, nodeId, generation: read.route!.generation })
      else router.forget(read.key)
    }
    if (stale.length > 0) router.reportStale(stale)
    return again
  }

  /** True when the read has ended; false when another replica may do better. */
  async #settle(
    read: Read,
    outcome: ReadOutcome,
    terms: ReadTerms,
    emit: (c: Completion) => void,
  ): Promise<boolean> {
    const error = outcome.error ?? (terms.verify ? await this.#verify(read, outcome) : undefined)
    if (error == null) {
      emit({ index: read.index, bytes: outcome.byteLength })
      return true
    }
    if (isFaultOfRequest(error)) {
      emit({ index: read.index, bytes: 0, error })
      return true
    }
    // A miss explains less than any other failure: the last replica may be gone while the directory still
    // names it.
    if (read.error == null || !hasCode(error, 'ERR_OBJECT_NOT_FOUND')) read.error = error
    return false
  }

  async #verify(read: Read, outcome: ReadOutcome): Promise<Error | undefined> {
    if (outcome.checksum == null) {
      return new MooncakeError(
        'ERR_NOT_SUPPORTED',
        `${read.key} was put without a checksum; it cannot be verified`,
      )
    }
    const bytes = firstBytes([read.target], outcome.byteLength)
    const checksum = await checksumOf(this.#init.memory.copyPool, bytes).catch(asMooncakeError)
    if (typeof checksum !== 'number') return checksum
    if (checksum === outcome.checksum) return undefined
    return new MooncakeError('ERR_CHECKSUM_MISMATCH', `The bytes of ${read.key} are not those that were put`)
  }

  #isHere({ key, tried }: Read): boolean {
    return !tried.has(this.#init.nodeId) && this.#init.backend.has(key)
  }

  #nextReplica(read: Read): ReplicaRoute | undefined {
    const { nodeId: self, router } = this.#init
    const left = read.route?.replicas.filter(({ nodeId }) => nodeId !== self && !read.tried.has(nodeId))
    return left?.find(({ nodeId }) => !router.suspects.has(nodeId)) ?? left?.[0]
  }

  /** A silent owner must leave time for those that come after it. */
  #attemptMs(chunk: readonly Read[], { deadline }: ReadTerms): number {
    let attempts = 1
    for (const { route, tried } of chunk) {
      attempts = Math.max(attempts, route!.replicas.filter(({ nodeId }) => !tried.has(nodeId)).length)
    }
    return Math.max(1, Math.floor(deadline.remainingMs() / attempts))
  }
}

function notFound(key: string): MooncakeError {
  return new MooncakeError('ERR_OBJECT_NOT_FOUND', `No node has ${key}`)
}
