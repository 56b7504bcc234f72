import { asMooncakeError, hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Completion, ReplicaRoute, WriteRoute } from '@mooncake-ts/core'
import type { TieredBackend } from '../local/tiered-backend.js'
import type { PeerClient } from '../peers/peer-client.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { Router } from '../routes/router.js'
import type { LeasedPut } from '../routes/write-leases.js'
import type { Admission } from '../transfer/admission.js'
import { isFaultOfRequest } from './arguments.js'
import { chunksOf, groupBy } from './chunks.js'
import type { Deadline } from './deadline.js'
import type { LocalWrites } from './local-writes.js'
import { bytesOf, type PeerWrites, type WriteOutcome } from './peer-writes.js'
import { wavesOf, Write, type NewObject, type Target } from './write.js'

/** Candidates beyond the replicas that were asked for, for when one of them fails. */
const SPARE_CANDIDATES = 2

/** Of the time that is left: how long an owner may wait for space, so that its answer still arrives. */
const WAIT_SHARE = 0.8

/** Of one request without a route. */
const LEASED_KEYS_MAX = 256

/** Between two looks at whether somebody else's write of the same key has ended. */
const BUSY_RETRY_MS = 10

export interface WriterInit {
  readonly backend: TieredBackend
  readonly unannounced: Unannounced
  readonly local: LocalWrites
  readonly peers: PeerWrites
  readonly peer: (endpoint: string) => PeerClient
  readonly router: Router
  readonly admission: Admission
  readonly inlineBytesMax: number
  /** This process and, where it has tiers, what it is called from outside. */
  readonly self: Target
  readonly hasTiers: boolean
}

export interface WriteRequestTerms {
  readonly deadline: Deadline
  readonly upsert: boolean
  readonly replicaNum: number
  readonly preferredSegments: readonly string[]
  readonly softPin: boolean
  readonly hardPin: boolean
}

/**
 * Puts a batch of objects where the directory says, each on as many nodes as were asked for, as far as there
 * are so many.
 */
export class Writer {
  readonly #init: WriterInit
  /** Nodes of a version that takes no large objects without a route. */
  readonly #unleasing = new Set<string>()
  readonly #replicas = new WeakMap<Target, readonly ReplicaRoute[]>()

  constructor(init: WriterInit) {
    this.#init = init
  }

  /**
   * `emit` is called once per object, when its memory is at rest. Rejects with the signal's reason when that
   * aborts; then all is at rest too.
   */
  async run(
    objects: readonly NewObject[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<void> {
    const writes = objects.map((object, index) => new Write(object, index, objects.length))
    // One after the other where a key comes twice: of puts the first one stays, of upserts the last.
    for (const wave of wavesOf(writes)) await this.#runDistinct(wave, terms, emit)
  }

  async #runDistinct(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<void> {
    const { backend, unannounced } = this.#init
    const absent = writes.filter(({ index, key, byteLength }) => {
      if (terms.upsert || !backend.has(key) || unannounced.has(key)) return true
      emit({ index, bytes: byteLength })
      return false
    })
    const unleased = await this.#tryLeased(absent, terms, emit)
    let left = await this.#route(unleased, terms, emit)
    while (left.length > 0) {
      if (left.some(write => write.busy)) await terms.deadline.sleep(BUSY_RETRY_MS)
      left = await this.#round(left, terms, emit)
    }
  }

  /**
   * Puts without asking the directory first, where leave was given ahead; gives back what has to ask. Nothing
   * is final here but success.
   */
  async #tryLeased(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<readonly Write[]> {
    const asks = terms.upsert || terms.replicaNum > 1 || terms.preferredSegments.length > 0
    if (asks || writes.length === 0) return writes
    const chunks = this.#leasedChunks(writes)
    const left: Write[] = []
    await Promise.all(
      chunks.map(async chunk => {
        left.push(...(await this.#tryLeasedChunk(chunk, terms, emit)))
      }),
    )
    terms.deadline.signal.throwIfAborted()
    return left
  }

  /** A small batch in one piece. */
  #leasedChunks(writes: readonly Write[]): ReadonlyArray<readonly Write[]> {
    const isSmall = writes.length <= LEASED_KEYS_MAX && bytesOf(writes) <= this.#init.inlineBytesMax
    return isSmall ? [writes] : chunksOf(writes, write => write.byteLength)
  }

  async #tryLeasedChunk(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<readonly Write[]> {
    const { router, peers } = this.#init
    const bytes = bytesOf(writes)
    const isLarge = bytes > this.#init.inlineBytesMax
    if (isLarge && !(peers.reversible && router.novelty.likely)) return writes
    const lease = router.leases.take(
      writes.length,
      nodeId => router.suspects.has(nodeId) || (isLarge && this.#unleasing.has(nodeId)),
    )
    if (lease == null) return writes
    const { candidate, firstGeneration } = lease
    for (const [i, write] of writes.entries()) write.generation = firstGeneration + i
    const outcomes = await this.#writeLeased(lease, bytes, writes, terms)
    if (outcomes == null || terms.deadline.signal.aborted) return writes
    if (outcomes.some(({ error }) => hasCode(error, 'ERR_LEASE_EXPIRED'))) router.leases.drop()
    return writes.filter((write, position) => {
      const { error, existed } = outcomes[position]!
      if (error != null) return true
      write.wrote(candidate, existed)
      return !this.#settle(write, terms, emit)
    })
  }

  /** Undefined where the whole request failed. */
  async #writeLeased(
    { candidate: target, isOnly }: LeasedPut,
    bytes: number,
    writes: readonly Write[],
    { deadline, softPin, hardPin }: WriteRequestTerms,
  ): Promise<WriteOutcome[] | undefined> {
    const { admission, local, peers, peer, self, router } = this.#init
    const { signal } = deadline
    const terms = { upsert: false, softPin, hardPin, waitMs: 0 }
    const deadlineMs = Math.ceil(deadline.remainingMs() / (isOnly ? 1 : 2))
    const options = { signal, deadlineMs, leasedFor: target.nodeId }
    try {
      const outcomes = await admission.run(bytes, signal, () =>
        target.nodeId === self.nodeId
          ? local.write(writes, terms, signal, true)
          : peers.writeLeased(peer(target.rpcEndpoint), writes, terms, options),
      )
      router.suspects.answered(target.nodeId)
      return outcomes
    } catch (error) {
      router.suspects.failed(target.nodeId, error)
      if (hasCode(error, 'ERR_RPC_METHOD_UNKNOWN')) this.#unleasing.add(target.nodeId)
      else router.leases.drop()
      return undefined
    }
  }

  /** Finds out where each goes; ends those that are there already. */
  async #route(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<Write[]> {
    if (writes.length === 0) return []
    const requests = writes.map(({ key, byteLength }) => ({
      key,
      byteLength,
      candidatesMax: terms.replicaNum + SPARE_CANDIDATES,
      preferredSegments: terms.preferredSegments,
    }))
    const routes = await this.#init.router.candidates(requests, terms.deadline.signal)
    return writes.filter((write, position) => {
      const route = routes[position]!
      if (route.existing != null && !terms.upsert) {
        this.#init.router.novelty.met()
        emit({ index: write.index, bytes: write.byteLength })
        return false
      }
      write.generation = route.generation
      write.targets = this.#targetsOf(route)
      if (write.targets.length > 0) return true
      const message = `No node can take ${write.byteLength} bytes for ${write.key}`
      emit({ index: write.index, bytes: 0, error: new MooncakeError('ERR_NO_AVAILABLE_CANDIDATE', message) })
      return false
    })
  }

  /** A new generation goes first to those that hold the old one, so that no route to them goes wrong. */
  #targetsOf({ existing, candidates }: WriteRoute): Target[] {
    const targets = new Map<string, Target>()
    for (const target of [...(existing?.replicas ?? []), ...candidates]) {
      if (!targets.has(target.nodeId)) targets.set(target.nodeId, target)
    }
    if (targets.size === 0 && this.#init.hasTiers && this.#init.router.away) return [this.#init.self]
    return this.#init.router.suspects.last([...targets.values()])
  }

  /** One try at as many targets as each write still lacks; gives back what is not done yet. */
  async #round(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<Write[]> {
    const attempts: Array<{ write: Write; target: Target; waitMs: number }> = []
    for (const write of writes) {
      const missing = terms.replicaNum - write.written.length
      if (write.targets.length === 0 && write.full != null) {
        attempts.push({
          write,
          target: write.full,
          waitMs: Math.ceil(terms.deadline.remainingMs() * WAIT_SHARE), // Not 0, which means not to wait.
        })
        write.full = undefined
      }
      write.busy = false
      for (const target of write.takeTargets(missing)) attempts.push({ write, target, waitMs: 0 })
    }
    const groups = groupBy(attempts, ({ target, waitMs }) => `${target.nodeId} ${waitMs > 0}`)
    const chunks = [...groups.values()].flatMap(group => chunksOf(group, ({ write }) => write.byteLength))
    await Promise.all(
      chunks.map(chunk =>
        this.#writeChunk(
          chunk[0]!.target,
          chunk[0]!.waitMs,
          chunk.map(a => a.write),
          terms,
        ),
      ),
    )
    terms.deadline.signal.throwIfAborted()
    return writes.filter(write => !this.#settle(write, terms, emit))
  }

  async #writeChunk(
    target: Target,
    waitMs: number,
    chunk: readonly Write[],
    terms: WriteRequestTerms,
  ): Promise<void> {
    const { admission, local, peers, peer, self, router } = this.#init
    const { upsert, softPin, hardPin, deadline } = terms
    const { signal } = deadline
    const writeTerms = { upsert, softPin, hardPin, waitMs }
    // A silent node must leave time for what comes after it: another one, or the end with fewer replicas.
    const last = waitMs > 0 || (terms.replicaNum === 1 && chunk.every(write => write.targets.length === 0))
    const options = { signal, deadlineMs: Math.ceil(deadline.remainingMs() / (last ? 1 : 2)) }
    const post = (): Promise<WriteOutcome[]> =>
      target.nodeId === self.nodeId
        ? local.write(chunk, writeTerms, signal)
        : peers.write(peer(target.rpcEndpoint), chunk, writeTerms, options)
    let outcomes: WriteOutcome[]
    try {
      outcomes = await admission.run(bytesOf(chunk), signal, post)
      router.suspects.answered(target.nodeId)
    } catch (error) {
      router.suspects.failed(target.nodeId, error)
      if (signal.aborted) return // The other chunks come to rest first; then the whole call ends.
      const failure = asMooncakeError(error)
      outcomes = chunk.map(() => ({ error: failure, existed: false }))
    }
    chunk.forEach((write, position) => {
      const { error, existed } = outcomes[position]!
      if (error == null) {
        write.wrote(target, existed)
        return
      }
      write.error = error
      if (waitMs === 0 && hasCode(error, 'ERR_NO_AVAILABLE_HANDLE')) write.full ??= target
      if (hasCode(error, 'ERR_REPLICA_IS_PROCESSING')) {
        write.targets = [target, ...write.targets] // Elsewhere the two would only have to find out who was later.
        write.busy = true
      }
      if (isFaultOfRequest(error)) write.targets = []
    })
  }

  /**
   * True when there is nothing more to try or to do. Fewer replicas than asked for are a success: the object
   * is there.
   */
  #settle(write: Write, terms: WriteRequestTerms, emit: (c: Completion) => void): boolean {
    const enough = write.written.length >= terms.replicaNum
    const exhausted = write.targets.length === 0 && (write.full == null || write.written.length > 0)
    if (!enough && !write.existed && !exhausted) return false
    const { key, index, byteLength, generation } = write
    if (write.written.length === 0) {
      emit({ index, bytes: 0, error: write.error ?? new MooncakeError('ERR_NO_AVAILABLE_CANDIDATE') })
      return true
    }
    const { router } = this.#init
    if (write.existed) {
      router.novelty.met()
      router.forget(key)
    } else {
      router.learn(key, { byteLength, generation, replicas: this.#replicasAt(write.written) })
    }
    emit({ index, bytes: byteLength })
    return true
  }

  /** One array for all objects of a target: the cache may keep a million routes. */
  #replicasAt(targets: readonly Target[]): readonly ReplicaRoute[] {
    const [first] = targets
    const known = targets.length === 1 ? this.#replicas.get(first!) : undefined
    if (known != null) return known
    const replicas = targets.map(({ nodeId, rpcEndpoint }) => ({ nodeId, rpcEndpoint, segment: '' }))
    if (targets.length === 1) this.#replicas.set(first!, replicas)
    return replicas
  }
}
