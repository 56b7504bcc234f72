import { setImmediate } from 'node:timers/promises'
import {
  MooncakeError,
  type DirectoryHandlers,
  type ReplicaAdd,
  type ReplicaAddResult,
  type ReplicaRemove,
} from '@mooncake-ts/core'
import { CLIENT_BATCH_KEYS } from '../limits.js'
import { ADD_EXCEEDED, ADD_STALE, type SyncReplicasMessage } from '../protocol.js'
import { SerialQueue } from './serial-queue.js'

const QUEUED_CALLS_MAX = 4096

/** A message without the registration, which is known when it is sent. */
export type ReplicaReport = Omit<SyncReplicasMessage, 'nodeId' | 'epoch'>

type Send = (report: ReplicaReport, signal?: AbortSignal) => Promise<Uint8Array>

/**
 * What this node tells the master about its replicas, in order: one message at a time, numbered, so that a
 * message that was thought lost and arrives late is refused.
 *
 * While everything is told again (`resync`), live reports go on through the same queue. Why a removed key
 * cannot come back: a batch of the snapshot is taken at the moment when it is sent, so a key in it was held
 * then; its removal happens later, and the report of it queues behind. For snapshots that were taken in one
 * piece earlier there is `#removed`: what was reported as removed since the resync began is left out, up to
 * that generation. A key that was replaced is safe by its generation: the master answers `stale` to the older
 * one.
 */
export class ReplicaFeed {
  readonly #queue = new SerialQueue(QUEUED_CALLS_MAX)
  readonly #send: Send
  readonly #batchKeys: number
  /** During a resync: segment and key → generation up to which it was removed meanwhile. */
  #removed: Map<string, number> | undefined
  #sequence = 0

  constructor(send: Send, batchKeys: number) {
    this.#send = send
    this.#batchKeys = batchKeys
  }

  /** Of the last report that was queued. */
  get sequence(): number {
    return this.#sequence
  }

  /** Settles when every report that was queued before has been answered, or has failed. */
  barrier(): Promise<void> {
    return this.#queue.run(() => {})
  }

  /**
   * Adds first: a replica that moved between two segments is never missing. Rejects with the first failure
   * when all parts are at rest.
   */
  async sync(
    adds: readonly ReplicaAdd[],
    removes: readonly ReplicaRemove[],
    signal?: AbortSignal,
  ): Promise<ReplicaAddResult[]> {
    this.#noteRemoved(removes)
    const messages = partsOf(adds, removes).map(part => this.#enqueue(part.adds, part.removes, signal))
    const parts = await Promise.allSettled(messages)
    return parts.flatMap(part => {
      if (part.status === 'rejected') throw part.reason
      return [...part.value].map(resultOf)
    })
  }

  /**
   * Tells everything. Replicas that the master refuses are dropped. Rejects with the signal's reason, or when
   * the master is gone.
   */
  async resync(handlers: DirectoryHandlers, signal: AbortSignal): Promise<void> {
    const removed = new Map<string, number>()
    this.#removed = removed
    try {
      let entries: Iterator<ReplicaAdd> | undefined
      for (let isLast = false; !isLast;) {
        const batch: ReplicaAdd[] = []
        const sequence = ++this.#sequence
        const results = await this.#queue.run(() => {
          signal.throwIfAborted()
          entries ??= handlers.snapshot()[Symbol.iterator]()
          isLast = this.#take(entries, batch, removed)
          return batch.length === 0 ? new Uint8Array() : this.#send(encode(sequence, batch, []), signal)
        })
        await dropRefused(handlers, batch, results)
        await setImmediate()
      }
    } finally {
      if (this.#removed === removed) this.#removed = undefined
    }
  }

  /** True when there are no more. */
  #take(entries: Iterator<ReplicaAdd>, into: ReplicaAdd[], removed: ReadonlyMap<string, number>): boolean {
    while (into.length < this.#batchKeys) {
      const next = entries.next()
      if (next.done === true) return true
      const removedUpTo = removed.get(removedKey(next.value)) ?? -Infinity
      if (next.value.generation > removedUpTo) into.push(next.value)
    }
    return false
  }

  #enqueue(
    adds: readonly ReplicaAdd[],
    removes: readonly ReplicaRemove[],
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const sequence = ++this.#sequence
    return this.#queue.run(async () => {
      signal?.throwIfAborted()
      const results = await this.#send(encode(sequence, adds, removes), signal)
      if (results.length === adds.length) return results
      throw new MooncakeError('ERR_PROTOCOL', 'The master answered another number of replicas')
    })
  }

  #noteRemoved(removes: readonly ReplicaRemove[]): void {
    if (this.#removed == null) return
    for (const remove of removes) {
      const key = removedKey(remove)
      this.#removed.set(key, Math.max(remove.generation, this.#removed.get(key) ?? remove.generation))
    }
  }
}

/** Two tiers of one node may hold the same key; NUL is in no segment name. */
function removedKey({ segment, key }: { readonly segment: string; readonly key: string }): string {
  return `${segment}\0${key}`
}

async function dropRefused(
  handlers: DirectoryHandlers,
  batch: readonly ReplicaAdd[],
  results: Uint8Array,
): Promise<void> {
  const refused = batch.filter((_add, i) => results[i] === ADD_STALE || results[i] === ADD_EXCEEDED)
  await Promise.all(refused.map(add => handlers.removeLocal([add.key], add.generation)))
}

function resultOf(result: number): ReplicaAddResult {
  if (result === ADD_STALE) return 'stale'
  return result === ADD_EXCEEDED ? 'exceeded' : 'ok'
}

interface Part {
  readonly adds: readonly ReplicaAdd[]
  readonly removes: readonly ReplicaRemove[]
}

/** All adds before any removal, and mostly both in one: in a full node every put evicts something. */
function partsOf(adds: readonly ReplicaAdd[], removes: readonly ReplicaRemove[]): Part[] {
  const parts: Part[] = []
  const count = adds.length + removes.length
  for (let from = 0; from < count; from += CLIENT_BATCH_KEYS) {
    const to = from + CLIENT_BATCH_KEYS
    const removesFrom = Math.max(0, from - adds.length)
    parts.push({
      adds: adds.slice(from, to),
      removes: removes.slice(removesFrom, Math.max(0, to - adds.length)),
    })
  }
  return parts
}

function encode(
  sequence: number,
  adds: readonly ReplicaAdd[],
  removes: readonly ReplicaRemove[],
): ReplicaReport {
  const indexes = new Map<string, number>()
  const indexOf = ({ segment }: { readonly segment: string }): number => {
    let index = indexes.get(segment)
    if (index == null) {
      index = indexes.size
      indexes.set(segment, index)
    }
    return index
  }
  return {
    sequence,
    adds: {
      keys: adds.map(add => add.key),
      generations: adds.map(add => add.generation),
      segments: adds.map(indexOf),
      byteLengths: adds.map(add => add.byteLength),
      ...(adds.some(add => add.ifAbsent)
        ? { ifAbsent: Uint8Array.from(adds, add => Number(add.ifAbsent ?? false)) }
        : {}),
    },
    removes: {
      keys: removes.map(remove => remove.key),
      generations: removes.map(remove => remove.generation),
      segments: removes.map(indexOf),
    },
    segments: [...indexes.keys()],
  }
}
