import { closeSync, cpSync, mkdtempSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { randomUint32 } from '@mooncake-ts/testkit'
import type { FaultyEngine, Operation } from './faulty-engine.js'

/** What a disk writes as a whole. */
const SECTOR_BYTES = 512

interface Unsynced {
  readonly operation: Operation
  /** What was there before. */
  readonly before: Buffer
  hasEnded: boolean
}

/**
 * What is left of a directory when the power goes: everything that was made durable, and of the rest each
 * sector or not.
 */
export class PowerCut {
  readonly #directory: string
  readonly #next: () => number
  #unsynced: Unsynced[] = []
  readonly #coveredBy = new Map<Operation, readonly Unsynced[]>()
  /** Writes that were not durable when the power went. */
  lostAtMost = 0

  constructor(directory: string, engine: FaultyEngine, seed: number, onOperation: (count: number) => void) {
    this.#directory = directory
    this.#next = randomUint32(seed)
    let count = 0
    engine.fault = operation => {
      this.#begun(operation)
      onOperation(++count)
      return undefined
    }
    engine.ended = (operation, result) => {
      this.#ended(operation, result)
    }
  }

  /** A copy of the directory as it would be found after the power came back. */
  copy(): string {
    const target = mkdtempSync(`${this.#directory}-cut-`)
    cpSync(this.#directory, target, { recursive: true })
    this.lostAtMost = this.#unsynced.length
    /** Sectors of which a later write is there: those before it are, too. */
    const kept = new Set<string>()
    for (const { operation, before } of this.#unsynced.toReversed()) {
      const path = join(target, operation.file)
      if (statSync(path, { throwIfNoEntry: false }) == null) continue
      const fd = openSync(path, 'r+')
      for (let at = 0; at < operation.byteLength; at += SECTOR_BYTES) {
        const sector = `${operation.file} ${Math.floor((operation.offset + at) / SECTOR_BYTES)}`
        if (kept.has(sector) || this.#next() % 2 === 0) kept.add(sector)
        else writeSync(fd, before.subarray(at, at + SECTOR_BYTES), 0, undefined, operation.offset + at)
      }
      closeSync(fd)
    }
    return target
  }

  #begun(operation: Operation): void {
    if (operation.kind === 'write') {
      this.#unsynced.push({ operation, before: this.#read(operation), hasEnded: false })
    } else if (operation.kind === 'fsync') {
      const covered = this.#unsynced.filter(one => one.hasEnded && one.operation.file === operation.file)
      this.#coveredBy.set(operation, covered)
    }
  }

  #ended(operation: Operation, result: number): void {
    if (operation.kind === 'write') {
      for (const one of this.#unsynced) if (one.operation === operation) one.hasEnded = true
    } else if (operation.kind === 'fsync' && result === 0) {
      const durable = new Set(this.#coveredBy.get(operation))
      this.#unsynced = this.#unsynced.filter(one => !durable.has(one))
    }
  }

  /** Zeros behind the end of the file. */
  #read({ file, offset, byteLength }: Operation): Buffer {
    const before = Buffer.alloc(byteLength)
    const fd = openSync(join(this.#directory, file), 'r')
    readSync(fd, before, 0, byteLength, offset)
    closeSync(fd)
    return before
  }
}
