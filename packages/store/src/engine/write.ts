import type { BatchPlace, Slice, WriteCandidate } from '@mooncake-ts/core'
import type { WriteTask } from './peer-writes.js'

/** A place to write to. */
export type Target = Pick<WriteCandidate, 'nodeId' | 'rpcEndpoint'>

/** What is to be put; its generation comes with its route, or with a lease. */
export type NewObject = Pick<WriteTask, 'key' | 'parts' | 'byteLength' | 'checksum'>

const NOWHERE: readonly Target[] = Object.freeze([])

/** One object of a batch until it is written. One JavaScript object for each: there may be many. */
export class Write implements WriteTask {
  readonly index: number
  readonly key: string
  readonly parts: readonly Slice[]
  readonly byteLength: number
  readonly checksum: number | undefined
  generation = 0
  /** Best first; taken from the front. */
  targets = NOWHERE
  written = NOWHERE
  /** The best one that had no room, to wait at when there is no other. */
  full: Target | undefined
  /** Another writer is writing the same key at the first target just now. */
  busy = false
  existed = false
  error: Error | undefined
  readonly #batchCount: number

  constructor({ key, parts, byteLength, checksum }: NewObject, index: number, batchCount: number) {
    this.index = index
    this.key = key
    this.parts = parts
    this.byteLength = byteLength
    this.checksum = checksum
    this.#batchCount = batchCount
  }

  get place(): BatchPlace | undefined {
    return this.#batchCount > 1 ? { index: this.index, count: this.#batchCount } : undefined
  }

  wrote(target: Target, existed: boolean): void {
    this.written = [...this.written, target]
    this.existed ||= existed
  }

  /** Takes so many of the best targets. */
  takeTargets(count: number): readonly Target[] {
    const taken = this.targets.slice(0, count)
    this.targets = this.targets.slice(count)
    return taken
  }
}

/** Runs of writes without a key twice, in order. One, in the ordinary case. */
export function wavesOf(writes: readonly Write[]): ReadonlyArray<readonly Write[]> {
  if (new Set(writes.map(write => write.key)).size === writes.length) return [writes]
  const waves: Write[][] = []
  const countOf = new Map<string, number>()
  for (const write of writes) {
    const wave = countOf.get(write.key) ?? 0
    countOf.set(write.key, wave + 1)
    if (wave === waves.length) waves.push([])
    waves[wave]!.push(write)
  }
  return waves
}
