import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { LocalCluster } from '@mooncake-ts/cli'
import { KIB, MIB, type Slice } from '@mooncake-ts/core'
import type { Store } from '@mooncake-ts/store'
import { connect, type WriterOrder } from '../peers/writer.js'
import type { Contender } from './compare.js'
import { quantile } from './stats.js'

const OBJECT_BYTES = 128 * KIB
/** Objects that are read so often that they stay in memory. */
const HOT = 64
const SSD_BYTES = 4096 * MIB
/** What the last phase began has ended. */
const SETTLE_MS = 300

/**
 * A node whose memory is full, a reader, and a writer in a process of its own, whose puts make the node demote
 * as many bytes.
 */
export class DemotionBench implements AsyncDisposable {
  readonly #cluster: LocalCluster
  readonly #reader: Store
  readonly #writer: ChildProcess
  readonly #target: Slice
  #next = 0

  private constructor(cluster: LocalCluster, reader: Store, writer: ChildProcess) {
    this.#cluster = cluster
    this.#reader = reader
    this.#writer = writer
    this.#target = { region: reader.createRegion(OBJECT_BYTES), offset: 0, byteLength: OBJECT_BYTES }
  }

  static async start(directory: string, dramBytes: number, bytesPerS: number): Promise<DemotionBench> {
    const ssd = { directory, capacityBytes: SSD_BYTES }
    const cluster = await LocalCluster.start({ nodes: 1, capacityBytes: dramBytes, ssd })
    const reader = await connect(cluster.masterEndpoint, 'reader')
    for (let i = 0; i < HOT; i++) await reader.put(`hot/${i}`, Buffer.alloc(OBJECT_BYTES, i))
    const program = fileURLToPath(new URL('../peers/writer.js', import.meta.url))
    const writer = fork(program, [cluster.masterEndpoint, String(OBJECT_BYTES), String(bytesPerS)])
    await once(writer, 'message')
    const bench = new DemotionBench(cluster, reader, writer)
    await bench.#fill(1.2 * dramBytes)
    return bench
  }

  /** p99 of single gets, in microseconds, while the writer does as it is told. */
  contender(order: WriterOrder): Contender {
    return async durationMs => {
      this.#tell(order)
      await sleep(SETTLE_MS)
      const micros: number[] = []
      const endMs = performance.now() + durationMs
      while (performance.now() < endMs || micros.length === 0) {
        const begunMs = performance.now()
        await this.#reader.getInto(`hot/${this.#next++ % HOT}`, this.#target)
        micros.push((performance.now() - begunMs) * 1000)
      }
      const p99Us = quantile(micros, 0.99)
      return { value: p99Us, p50Us: quantile(micros, 0.5), p99Us }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#writer.disconnect()
    await once(this.#writer, 'exit')
    await this.#reader.close()
    await this.#cluster[Symbol.asyncDispose]()
  }

  /** Memory is full, and demotion is under way, before anything is measured. */
  async #fill(bytes: number): Promise<void> {
    this.#tell('write')
    for (let written = 0; written * OBJECT_BYTES < bytes;)
      [written] = (await once(this.#writer, 'message')) as [number]
    this.#tell('pause')
  }

  #tell(order: WriterOrder): void {
    this.#writer.send(order)
  }
}
