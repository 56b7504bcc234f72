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

const NOBODY: ReadonlySet<string> = new Set()

/** One key of a batch until it is read. */
class Read {
  readonly index: number
  readonly key: string
  readonly target: Slice
  route: ReadRoute | undefined
  lookUps = 0
  /** Nodes that failed since the last look-up. */
  tried = NOBODY
  error: Error | undefined

  constructor(index: number, key: string, target: Slice) {
    this.index = index
    this.key = key
    this.target = target
  }

  failedAt(nodeId: string): void {
    this.tried = new Set([...this.tried, nodeId])
  }
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
    const reads = keys.map((key, index) => new Read(index, key, targets[index]!))
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
  async #readHere(
    reads: readonly Read[],
    terms: ReadTerms,
    emit: (c: Completion) => void,
  ): Promise<readonly Read[]> {
    const { local, nodeId, backend } = this.#init
    const here = backend.keyCount === 0 ? [] : reads.filter(read => this.#isHere(read))
    if (here.length === 0) return reads
    const outcomes = await local.read(here, terms.deadline.signal)
    const elsewhere = new Set(reads)
    const endings = here.map((read, position) => {
      read.failedAt(nodeId)
      const outcome = outcomes[position] // Undefined: gone meanwhile.
      return outcome != null && this.#settle(read, outcome, terms, emit)
    })
    const ended = terms.verify ? await Promise.all(endings.map(ending => Promise.resolve(ending))) : endings
    here.forEach((read, position) => {
      if (ended[position] === true) elsewhere.delete(read)
    })
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
        read.tried = NOBODY
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
    let failure: Error | undefined
    const owners = chunk.map(read => this.#nextReplica(read)!.nodeId) // Of one endpoint, but perhaps of two lives.
    try {
      const options = { signal, deadlineMs: this.#attemptMs(chunk, terms) }
      const read = await admission.run(bytes, signal, () => peers.read(peer(endpoint), chunk, bytes, options))
      outcomes = read.outcomes
      failure = read.error
      for (const nodeId of new Set(read.asked.map(position => owners[position]!))) {
        if (failure == null) router.suspects.answered(nodeId)
        else router.suspects.failed(nodeId, failure)
      }
    } catch (cause) {
      const error = asMooncakeError(cause) // Of this node: nobody was asked.
      failure = error
      outcomes = chunk.map(() => ({ error, byteLength: 0 }))
    }
    // The other chunks come to rest first; then the whole call ends.
    if (failure != null && signal.aborted) return []
    const again: Read[] = []
    const stale: Array<{ key: string; nodeId: string; generation: number }> = []
    for (const [position, read] of chunk.entries()) {
      const nodeId = owners[position]!
      const outcome = outcomes[position]!
      // A promise only where there is something to wait for.
      const settled = this.#settle(read, outcome, terms, emit)
      if (typeof settled === 'boolean' ? settled : await settled) continue
      again.push(read)
      read.failedAt(nodeId)
      if (hasCode(outcome.error, 'ERR_OBJECT_NOT_FOUND'))
        stale.push({ key: read.key, nodeId, generation: read.route!.generation })
      else router.forget(read.key)
    }
    if (stale.length > 0) router.reportStale(stale)
    return again
  }

  /** True when the read has ended; false when another replica may do better. */
  #settle(
    read: Read,
    outcome: ReadOutcome,
    terms: ReadTerms,
    emit: (c: Completion) => void,
  ): boolean | Promise<boolean> {
    if (outcome.error != null || !terms.verify) return this.#end(read, outcome, outcome.error, emit)
    return this.#verify(read, outcome).then(error => this.#end(read, outcome, error, emit))
  }

  #end(read: Read, outcome: ReadOutcome, error: Error | undefined, emit: (c: Completion) => void): boolean {
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
    const { backend, nodeId } = this.#init
    return backend.keyCount > 0 && !tried.has(nodeId) && backend.has(key)
  }

  #nextReplica(read: Read): ReplicaRoute | undefined {
    const { nodeId: self, router } = this.#init
    let suspect: ReplicaRoute | undefined
    for (const replica of read.route?.replicas ?? []) {
      const { nodeId } = replica
      if (nodeId === self || read.tried.has(nodeId)) continue
      if (!router.suspects.has(nodeId)) return replica
      suspect ??= replica
    }
    return suspect
  }

  /** A silent owner must leave time for those that come after it. */
  #attemptMs(chunk: readonly Read[], { deadline }: ReadTerms): number {
    let attempts = 1
    for (const { route, tried } of chunk) {
      let left = 0
      for (const { nodeId } of route!.replicas) if (!tried.has(nodeId)) left++
      attempts = Math.max(attempts, left)
    }
    return Math.max(1, Math.floor(deadline.remainingMs() / attempts))
  }
}

function notFound(key: string): MooncakeError {
  return new MooncakeError('ERR_OBJECT_NOT_FOUND', `No node has ${key}`)
}
