import { LocalCluster } from '@mooncake-ts/cli'
import { MIB, type Plugin, type Region, type Slice, type Transport } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { shm } from '@mooncake-ts/transport-shm'
import { tcp } from '@mooncake-ts/transport-tcp'
import type { Contender } from './compare.js'
import { measure } from './measure.js'
import type { SuiteContext } from './suite.js'

const PATTERN = 0xa5
const OTHER = 0x11
const PAGE_BYTES = 4096
const DEADLINE_MS = 60_000

export interface ObjectSetting {
  readonly operation: 'get' | 'put'
  readonly objectBytes: number
  readonly batch: number
  /** Batches under way at a time. Default: 1. */
  readonly depth?: number
}

/**
 * Objects between a node and a client, two processes. Walks through keys, and through regions that are far
 * larger than a cache. One size at a time: `load` forgets the one before.
 */
export class ObjectBench implements AsyncDisposable {
  readonly #parts: readonly AsyncDisposable[]
  readonly #store: Store
  readonly #source: Ring
  readonly #target: Ring
  #objectBytes = 0
  #keys = 0
  #nextKey = 0
  #nextNew = 0
  /** Where the last batch was read to, to be looked at. */
  #lastRead: Slice[] = []

  /** @param parts stopped after the store, the first one first */
  constructor(store: Store, regionBytes: number, parts: readonly AsyncDisposable[]) {
    this.#store = store
    this.#parts = parts
    this.#source = new Ring(store.createRegion(regionBytes))
    this.#target = new Ring(store.createRegion(regionBytes))
    this.#source.fill(PATTERN)
    this.#target.fill(OTHER)
  }

  /** @param regionBytes of what batches come from and go to. Default: as the pool */
  static async overTcp(
    { poolBytes }: Pick<SuiteContext, 'poolBytes'>,
    regionBytes = poolBytes,
  ): Promise<ObjectBench> {
    return await ObjectBench.#start(tcp(), poolBytes, regionBytes)
  }

  static async overShm({ poolBytes }: Pick<SuiteContext, 'poolBytes'>): Promise<ObjectBench> {
    return await ObjectBench.#start(shm(), poolBytes, poolBytes)
  }

  /** A cluster of one node, and a client that reaches it in one way only. */
  static async #start(
    transport: Plugin<Transport>,
    poolBytes: number,
    regionBytes: number,
  ): Promise<ObjectBench> {
    const cluster = await LocalCluster.start({ nodes: 1, capacityBytes: 4 * poolBytes })
    try {
      const store = await createStore({
        name: 'bench',
        master: masterClient({ endpoints: [cluster.masterEndpoint] }),
        rpc: rpc({ listen: [] }),
        transports: [transport],
      })
      return new ObjectBench(store, regionBytes, [cluster])
    } catch (error) {
      await cluster[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Removes what is there, and puts the objects that are read later. */
  async load(objectBytes: number, count: number): Promise<void> {
    await this.#store.removeAll({ deadlineMs: DEADLINE_MS })
    this.#objectBytes = objectBytes
    this.#keys = count
    const step = Math.min(256, this.#source.region.byteLength / objectBytes)
    for (let first = 0; first < count; first += step) {
      await this.#put(Array.from({ length: Math.min(step, count - first) }, (_, i) => this.#key(first + i)))
    }
  }

  /** In GB/s. Puts evict what gets would read: gets first. */
  contender({ operation, batch, depth = 1 }: Omit<ObjectSetting, 'objectBytes'>): Contender {
    return async durationMs => {
      if (operation === 'get') this.#target.spoil()
      const sample = await measure(() => this[operation](batch), { durationMs, depth, scale: 1e-9 })
      this.#verify()
      return sample
    }
  }

  /** How long it takes until the bytes of an object can be looked at, in µs; the p50. */
  viewContender(): Contender {
    return async durationMs => {
      const sample = await measure(() => this.#view(), { durationMs })
      return { ...sample, value: sample.p50Us ?? NaN }
    }
  }

  async get(batch: number): Promise<number> {
    const keys = Array.from({ length: batch }, () => this.#key(this.#nextKey++ % this.#keys))
    const into = this.#target.next(batch, this.#objectBytes)
    const { bytes, failed } = await this.#store.getMany(keys, { into, deadlineMs: DEADLINE_MS }).done
    if (failed > 0) throw new Error(`${failed} of ${batch} gets failed`)
    this.#lastRead = into
    return bytes
  }

  /** New keys each time: in a full pool every put evicts, as in a cache that runs. */
  async put(batch: number): Promise<number> {
    return await this.#put(Array.from({ length: batch }, () => `new/${this.#objectBytes}/${this.#nextNew++}`))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#source.region.close()
    this.#target.region.close()
    await this.#store[Symbol.asyncDispose]()
    for (const part of this.#parts) await part[Symbol.asyncDispose]()
  }

  async #view(): Promise<number> {
    using view = await this.#store.getView(this.#key(this.#nextKey++ % this.#keys))
    if (view?.bytes[0] !== PATTERN || !view.valid) throw new Error('The view does not show what was put')
    return 1
  }

  async #put(keys: readonly string[]): Promise<number> {
    const slices = this.#source.next(keys.length, this.#objectBytes)
    const entries = keys.map((key, index) => ({ key, value: slices[index]! }))
    const { bytes, failed } = await this.#store.putMany(entries, { deadlineMs: DEADLINE_MS }).done
    if (failed > 0) throw new Error(`${failed} of ${keys.length} puts failed`)
    return bytes
  }

  #verify(): void {
    const expected = Buffer.alloc(this.#objectBytes, PATTERN)
    for (const { region, offset, byteLength } of this.#lastRead) {
      if (!expected.equals(region.view(offset, byteLength)))
        throw new Error('The bytes that were read are not those that were put')
    }
    this.#lastRead = []
  }

  #key(index: number): string {
    return `bench/${this.#objectBytes}/${index}`
  }
}

/** Slices of a region, round and round. */
class Ring {
  readonly region: Region
  #at = 0

  constructor(region: Region) {
    this.region = region
  }

  next(count: number, byteLength: number): Slice[] {
    const { region } = this
    if (this.#at + count * byteLength > region.byteLength) this.#at = 0
    const first = this.#at
    this.#at += count * byteLength
    return Array.from({ length: count }, (_, i) => ({ region, offset: first + i * byteLength, byteLength }))
  }

  fill(byte: number): void {
    for (let at = 0; at < this.region.byteLength; at += MIB) this.region.view(at, MIB).fill(byte)
  }

  /** So that what an earlier round has read cannot pass for new. */
  spoil(): void {
    for (let at = 0; at < this.region.byteLength; at += MIB) {
      const bytes = this.region.view(at, MIB)
      for (let page = 0; page < MIB; page += PAGE_BYTES) bytes[page] = OTHER
    }
  }
}
