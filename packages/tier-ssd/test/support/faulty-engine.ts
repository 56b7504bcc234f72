import { readlinkSync } from 'node:fs'
import {
  createIoEngine,
  type Done,
  type IoEngine,
  type IoEngineStats,
  type Ring,
} from '@mooncake-ts/io-uring'

export interface Operation {
  readonly kind: 'read' | 'write' | 'fsync' | 'allocate'
  /** Of the file, without its directory. */
  readonly file: string
  readonly offset: number
  readonly byteLength: number
}

export type Fault =
  /** Nothing is done; this is the result. */
  | { readonly result: number }
  /** Only so much is done. */
  | { readonly bytes: number }
  /** Done after this has settled. */
  | { readonly after: Promise<unknown> }

/** A disk that fails when it is told to: an engine that asks before each operation on a file. */
export class FaultyEngine implements IoEngine {
  readonly kind: 'io_uring' | 'threads'
  readonly reason: string
  readonly inline: Ring
  readonly bulk: readonly Ring[]
  readonly operations: Operation[] = []
  /** Which operations fail, and how. */
  fault: (operation: Operation) => Fault | undefined = () => undefined
  /** Hears of the end of each. */
  ended: (operation: Operation, result: number) => void = () => {}
  /** Given to the disk and not yet reported. */
  inFlight = 0
  inFlightMax = 0
  readonly #engine: IoEngine

  constructor(engine = createIoEngine()) {
    this.#engine = engine
    this.kind = engine.kind
    this.reason = engine.reason
    this.inline = this.#wrap(engine.inline)
    this.bulk = engine.bulk.map(ring => this.#wrap(ring))
  }

  attach = (memory: Parameters<IoEngine['attach']>[0]): number => this.#engine.attach(memory)
  detach = (slot: number): void => {
    this.#engine.detach(slot)
  }

  stats = (): IoEngineStats => this.#engine.stats()
  ref = (): void => {
    this.#engine.ref()
  }

  unref = (): void => {
    this.#engine.unref()
  }

  close = (): Promise<void> => this.#engine.close()

  #wrap(ring: Ring): Ring {
    return Object.assign(Object.create(ring) as Ring, {
      read: (fd: number, vec: ArrayLike<number>, offset: number, done: Done) =>
        this.#transfer('read', ring, fd, vec, offset, done),
      write: (fd: number, vec: ArrayLike<number>, offset: number, done: Done) =>
        this.#transfer('write', ring, fd, vec, offset, done),
      fsync: (fd: number, done: Done, flags?: { readonly dataOnly?: boolean }) =>
        this.#run('fsync', fd, 0, 0, done, counted => ring.fsync(fd, counted, flags)),
      allocate: (fd: number, offset: number, byteLength: number, done: Done) =>
        this.#run('allocate', fd, offset, byteLength, done, counted =>
          ring.allocate(fd, offset, byteLength, counted),
        ),
    })
  }

  #transfer(
    kind: 'read' | 'write',
    ring: Ring,
    fd: number,
    vec: ArrayLike<number>,
    offset: number,
    done: Done,
  ): number {
    const vector = Array.from(vec)
    const bytes = vector.reduce((sum, number, i) => (i % 3 === 2 ? sum + number : sum), 0)
    return this.#run(kind, fd, offset, bytes, done, (counted, bytesMax) =>
      ring[kind](fd, firstBytes(vector, bytesMax), offset, counted),
    )
  }

  #run(
    kind: Operation['kind'],
    fd: number,
    offset: number,
    byteLength: number,
    done: Done,
    start: (done: Done, bytesMax: number) => number,
  ): number {
    const operation = {
      kind,
      file: readlinkSync(`/proc/self/fd/${fd}`).split('/').at(-1)!,
      offset,
      byteLength,
    }
    this.operations.push(operation)
    const fault = this.fault(operation)
    this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight)
    const counted = (result: number): void => {
      this.inFlight--
      this.ended(operation, result)
      done(result)
    }
    if (fault == null) return start(counted, byteLength)
    if ('bytes' in fault) return start(counted, fault.bytes)
    if ('result' in fault)
      queueMicrotask(() => {
        counted(fault.result)
      })
    else void fault.after.then(() => start(counted, byteLength))
    return 0
  }
}

function firstBytes(vector: readonly number[], bytesMax: number): number[] {
  const first: number[] = []
  for (let i = 0, left = bytesMax; i < vector.length && left > 0; i += 3) {
    const byteLength = Math.min(left, vector[i + 2]!)
    first.push(vector[i]!, vector[i + 1]!, byteLength)
    left -= byteLength
  }
  return first
}
