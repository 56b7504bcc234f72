import { LocalCluster } from '@mooncake-ts/cli'
import { formatBytes, KIB, MIB, type Region, type Slice } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { tcp } from '@mooncake-ts/transport-tcp'
import { measure, type Measurement } from '../harness/measure.js'
import { rawCopyGBps } from '../harness/raw-copy.js'
import { withRatio, type Result, type Suite, type SuiteOptions } from '../harness/result.js'
import { median } from '../harness/stats.js'

/** Data that no cache holds. */
const POOL_BYTES = 512 * MIB
const SIZES = [4 * KIB, 64 * KIB, MIB, 4 * MIB, 32 * MIB]
const BATCHES = [1, 32]

interface Cell {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  readonly batch: number
}

/** get and put between two processes over TCP, beside a raw copy of the same sizes through sockets. */
export const tcpSuite: Suite = {
  name: 'tcp',
  summary: 'get and put between two processes over TCP, beside a raw socket copy',
  async run(options) {
    const sizes = options.short ? [4 * KIB, MIB] : SIZES
    await using cluster = await LocalCluster.start({ nodes: 1, capacityBytes: 5 * POOL_BYTES })
    await using store = await createStore({
      name: 'bench',
      master: masterClient({ endpoints: [cluster.masterEndpoint] }),
      rpc: rpc({ listen: [] }),
      transports: [tcp()],
    })
    const region = store.createRegion(Math.max(POOL_BYTES, 32 * Math.max(...sizes)))
    fill(region)
    const results: Result[] = []
    for (const objectBytes of sizes) {
      const bench = new ObjectBench(store, region, objectBytes)
      await bench.load(options.short ? 64 : Math.floor(POOL_BYTES / objectBytes))
      // Gets first: puts evict what they read.
      for (const operation of ['get', 'put'] as const) {
        for (const batch of BATCHES)
          results.push(await runCell(bench, { operation, objectBytes, batch }, options))
      }
      await store.removeAll({ deadlineMs: 60_000 })
    }
    region.close()
    return results
  },
}

async function runCell(bench: ObjectBench, cell: Cell, { short, say }: SuiteOptions): Promise<Result> {
  const { operation, objectBytes, batch } = cell
  const name = `tcp/${operation}/${formatBytes(objectBytes).replace(' ', '').replace(/\.0+/, '')}/batch${batch}`
  const rounds = short ? 1 : 3
  const durationMs = short ? 50 : 400
  const ours: Measurement[] = []
  const raw: number[] = []
  for (let round = 0; round < rounds; round++) {
    raw.push(await rawCopyGBps({ ...cell, durationMs }))
    ours.push(await measure(() => bench[operation](batch), { durationMs }))
  }
  bench.verify()
  say(name)
  return withRatio({
    name,
    value: median(ours.map(m => m.perSecond)) / 1e9,
    unit: 'GB/s',
    p50Us: median(ours.map(m => m.p50Us)),
    p99Us: median(ours.map(m => m.p99Us)),
    ceiling: median(raw),
  })
}

/** Walks through keys and through a region, both far larger than a cache. */
class ObjectBench {
  readonly #store: Store
  readonly #region: Region
  readonly #objectBytes: number
  #keys = 0
  #nextKey = 0
  #nextNew = 0
  #at = 0
  /** Where the last objects were read to, to be looked at. */
  #lastRead: Slice[] = []

  constructor(store: Store, region: Region, objectBytes: number) {
    this.#store = store
    this.#region = region
    this.#objectBytes = objectBytes
  }

  /** Puts the objects that are read later. */
  async load(count: number): Promise<void> {
    for (let done = 0; done < count;) {
      const batch = Math.min(256, count - done, Math.floor(this.#region.byteLength / this.#objectBytes))
      await this.#put(Array.from({ length: batch }, (_, i) => this.#key(done + i)))
      done += batch
    }
    this.#keys = count
  }

  async get(batch: number): Promise<number> {
    const keys = Array.from({ length: batch }, () => this.#key(this.#nextKey++ % this.#keys))
    const into = this.#slices(batch)
    const { bytes, failed } = await this.#store.getMany(keys, { into, deadlineMs: 60_000 }).done
    if (failed > 0) throw new Error(`${failed} of ${batch} gets failed`)
    this.#lastRead = into
    return bytes
  }

  /** New keys each time: in a full pool every put evicts, as in a cache that runs. */
  async put(batch: number): Promise<number> {
    return await this.#put(Array.from({ length: batch }, () => `new/${this.#objectBytes}/${this.#nextNew++}`))
  }

  verify(): void {
    for (const { region, offset, byteLength } of this.#lastRead) {
      const bytes = Buffer.from(region.view(offset, byteLength).buffer, 0, byteLength)
      if (!bytes.every(byte => byte === PATTERN))
        throw new Error('The bytes that were read are not those that were put')
    }
    this.#lastRead = []
  }

  async #put(keys: readonly string[]): Promise<number> {
    const slices = this.#slices(keys.length)
    const entries = keys.map((key, index) => ({ key, value: slices[index]! }))
    const { bytes, failed } = await this.#store.putMany(entries, { deadlineMs: 60_000 }).done
    if (failed > 0) throw new Error(`${failed} of ${keys.length} puts failed`)
    return bytes
  }

  #slices(count: number): Slice[] {
    if (this.#at + count * this.#objectBytes > this.#region.byteLength) this.#at = 0
    const first = this.#at
    this.#at += count * this.#objectBytes
    const byteLength = this.#objectBytes
    return Array.from({ length: count }, (_, i) => ({
      region: this.#region,
      offset: first + i * byteLength,
      byteLength,
    }))
  }

  #key(index: number): string {
    return `bench/${this.#objectBytes}/${index}`
  }
}

const PATTERN = 0xa5

function fill(region: Region): void {
  for (let at = 0; at < region.byteLength; at += MIB)
    region.view(at, Math.min(MIB, region.byteLength - at)).fill(PATTERN)
}
