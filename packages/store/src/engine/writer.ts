import { asMooncakeError, hasCode, MooncakeError } from '@mooncake-ts/core'
import type { Completion, WriteCandidate, WriteRoute } from '@mooncake-ts/core'
import type { TieredBackend } from '../local/tiered-backend.js'
import type { PeerClient } from '../peers/peer-client.js'
import type { Unannounced } from '../peers/unannounced.js'
import type { Router } from '../routes/router.js'
import type { Admission } from '../transfer/admission.js'
import { isFaultOfRequest } from './arguments.js'
import { chunksOf, groupBy } from './chunks.js'
import type { Deadline } from './deadline.js'
import type { LocalWrites } from './local-writes.js'
import { bytesOf, type PeerWrites, type WriteOutcome, type WriteTask } from './peer-writes.js'

/** Candidates beyond the replicas that were asked for, for when one of them fails. */
const SPARE_CANDIDATES = 2

/** Of the time that is left: how long an owner may wait for space, so that its answer still arrives. */
const WAIT_SHARE = 0.8

/** Of one request without a route. */
const LEASED_KEYS_MAX = 256

/** Between two looks at whether somebody else's write of the same key has ended. */
const BUSY_RETRY_MS = 10

/** A place to write to. */
type Target = Pick<WriteCandidate, 'nodeId' | 'rpcEndpoint'>

/** What is to be put; its generation comes with its route. */
export type NewObject = Omit<WriteTask, 'generation'>

interface Write {
  readonly index: number
  task: WriteTask
  /** Best first; taken from the front. */
  targets: Target[]
  /** The best one that had no room, to wait at when there is no other. */
  full?: Target
  /** Another writer is writing the same key at the first target just now. */
  busy: boolean
  readonly written: Target[]
  existed: boolean
  error?: Error
}

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
    const writes = objects.map((object, index): Write => ({
      index,
      // Numbered with its route.
      task: {
        ...object,
        generation: 0,
        ...(objects.length > 1 && { place: { index, count: objects.length } }),
      },
      targets: [],
      written: [],
      existed: false,
      busy: false,
    }))
    // One after the other where a key comes twice: of puts the first one stays, of upserts the last.
    for (const wave of wavesOf(writes)) await this.#runDistinct(wave, terms, emit)
  }

  async #runDistinct(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<void> {
    const { backend, unannounced } = this.#init
    const absent = writes.filter(({ index, task }) => {
      if (terms.upsert || !backend.has(task.key) || unannounced.has(task.key)) return true
      emit({ index, bytes: task.byteLength })
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
   * Puts a small batch without asking the directory first, where leave was given ahead; gives back what has
   * to ask. Nothing is final here but success.
   */
  async #tryLeased(
    writes: readonly Write[],
    terms: WriteRequestTerms,
    emit: (c: Completion) => void,
  ): Promise<readonly Write[]> {
    const { router, inlineBytesMax } = this.#init
    const asks = terms.upsert || terms.replicaNum > 1 || terms.preferredSegments.length > 0
    const bytes = bytesOf(writes.map(write => write.task))
    if (asks || writes.length === 0 || writes.length > LEASED_KEYS_MAX || bytes > inlineBytesMax)
      return writes
    const lease = router.leases.take(writes.length, nodeId => router.suspects.has(nodeId))
    if (lease == null) return writes
    const { candidate, firstGeneration } = lease
    writes.forEach((write, i) => {
      write.task = { ...write.task, generation: firstGeneration + i }
    })
    const outcomes = await this.#writeLeased(candidate, bytes, writes, terms)
    terms.deadline.signal.throwIfAborted()
    if (outcomes == null) return writes
    if (outcomes.some(({ error }) => hasCode(error, 'ERR_LEASE_EXPIRED'))) router.leases.drop()
    return writes.filter((write, position) => {
      const { error, existed } = outcomes[position]!
      if (error != null) return true
      write.written.push(candidate)
      write.existed = existed
      return !this.#settle(write, terms, emit)
    })
  }

  /** Undefined where the whole request failed. */
  async #writeLeased(
    target: WriteCandidate,
    bytes: number,
    writes: readonly Write[],
    { deadline, softPin, hardPin }: WriteRequestTerms,
  ): Promise<WriteOutcome[] | undefined> {
    const { admission, local, peers, peer, self, router } = this.#init
    const { signal } = deadline
    const tasks = writes.map(write => write.task)
    const terms = { upsert: false, softPin, hardPin, waitMs: 0 }
    const options = { signal, deadlineMs: Math.ceil(deadline.remainingMs() / 2), leasedFor: target.nodeId }
    try {
      const outcomes = await admission.run(bytes, signal, () =>
        target.nodeId === self.nodeId
          ? local.write(tasks, terms, signal, true)
          : peers.writeLeased(peer(target.rpcEndpoint), tasks, terms, options),
      )
      router.suspects.answered(target.nodeId)
      return outcomes
    } catch (error) {
      router.suspects.failed(target.nodeId, error)
      router.leases.drop()
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
    const requests = writes.map(({ task }) => ({
      key: task.key,
      byteLength: task.byteLength,
      candidatesMax: terms.replicaNum + SPARE_CANDIDATES,
      preferredSegments: terms.preferredSegments,
    }))
    const routes = await this.#init.router.candidates(requests, terms.deadline.signal)
    return writes.filter((write, position) => {
      const route = routes[position]!
      if (route.existing != null && !terms.upsert) {
        emit({ index: write.index, bytes: write.task.byteLength })
        return false
      }
      write.task = { ...write.task, generation: route.generation }
      write.targets = this.#targetsOf(route)
      if (write.targets.length > 0) return true
      const message = `No node can take ${write.task.byteLength} bytes for ${write.task.key}`
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
        delete write.full
      }
      write.busy = false
      for (const target of write.targets.splice(0, missing)) attempts.push({ write, target, waitMs: 0 })
    }
    const groups = groupBy(attempts, ({ target, waitMs }) => `${target.nodeId} ${waitMs > 0}`)
    const chunks = [...groups.values()].flatMap(group =>
      chunksOf(group, ({ write }) => write.task.byteLength),
    )
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
    const tasks = chunk.map(write => write.task)
    const writeTerms = { upsert, softPin, hardPin, waitMs }
    let bytes = 0
    for (const task of tasks) bytes += task.byteLength
    // A silent node must leave time for what comes after it: another one, or the end with fewer replicas.
    const last = waitMs > 0 || (terms.replicaNum === 1 && chunk.every(write => write.targets.length === 0))
    const options = { signal, deadlineMs: Math.ceil(deadline.remainingMs() / (last ? 1 : 2)) }
    const post = (): Promise<WriteOutcome[]> =>
      target.nodeId === self.nodeId
        ? local.write(tasks, writeTerms, signal)
        : peers.write(peer(target.rpcEndpoint), tasks, writeTerms, options)
    let outcomes: WriteOutcome[]
    try {
      outcomes = await admission.run(bytes, signal, post)
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
        write.written.push(target)
        write.existed ||= existed
        return
      }
      write.error = error
      if (waitMs === 0 && hasCode(error, 'ERR_NO_AVAILABLE_HANDLE')) write.full ??= target
      if (hasCode(error, 'ERR_REPLICA_IS_PROCESSING')) {
        write.targets.unshift(target) // Elsewhere the two would only have to find out who was later.
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
    const { task, index } = write
    if (write.written.length === 0) {
      emit({ index, bytes: 0, error: write.error ?? new MooncakeError('ERR_NO_AVAILABLE_CANDIDATE') })
      return true
    }
    if (write.existed) this.#init.router.forget(task.key)
    else {
      const replicas = write.written.map(({ nodeId, rpcEndpoint }) => ({ nodeId, rpcEndpoint, segment: '' }))
      this.#init.router.learn(task.key, {
        byteLength: task.byteLength,
        generation: task.generation,
        replicas,
      })
    }
    emit({ index, bytes: task.byteLength })
    return true
  }
}

/** Runs of writes without a key twice, in order. One, in the ordinary case. */
function wavesOf(writes: readonly Write[]): Write[][] {
  const waves: Write[][] = []
  const countOf = new Map<string, number>()
  for (const write of writes) {
    const wave = countOf.get(write.task.key) ?? 0
    countOf.set(write.task.key, wave + 1)
    if (wave === waves.length) waves.push([])
    waves[wave]!.push(write)
  }
  return waves
}
