import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  Host,
  KIB,
  MEMORY,
  MIB,
  TIER,
  type Region,
  type Slice,
  type Tier,
  type TierAllocation,
} from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { ssd } from '@mooncake-ts/tier-ssd'
import { compare, type Contender } from '../harness/compare.js'
import { DemotionBench } from '../harness/demotion-bench.js'
import { measure } from '../harness/measure.js'
import { sizeName } from '../harness/names.js'
import type { Result } from '../harness/result.js'
import type { Suite, SuiteContext } from '../harness/suite.js'
import { Fio } from '../rivals/fio.js'

/** On a disk, unlike /tmp in many places. */
const ROOT = process.env['MOONCAKE_BENCH_DIR'] ?? '/var/tmp'
const BATCH = 32
/** Batches under way: while the last objects of one are awaited, the disk has the other. */
const BATCHES = 2
const READ_SIZES = [4 * KIB, 64 * KIB, MIB, 4 * MIB]
const WRITE_SIZE = MIB
const DEMOTED_BYTES_PER_S = 200 * MIB
/** Of memory that bytes come from or go to: as fio has it, a place for each operation in flight. */
const PLACES = BATCHES * BATCH

/**
 * Objects to and from a disk, each checked, beside fio with as many operations of the same size in flight.
 */
export const ssdSuite: Suite = {
  name: 'ssd',
  summary:
    'random reads and writes of the SSD tier in batches of 32, beside fio on the same file system, and gets during demotion',
  async run(context) {
    const directory = await mkdtemp(join(ROOT, 'mooncake-bench-ssd-'))
    try {
      const fio = await Fio.prepare(directory, context.poolBytes)
      if (fio == null) context.rivals.markAbsent('fio', 'not installed')
      await using bench = await SsdBench.start(directory, context.poolBytes)
      const results: Result[] = []
      for (const objectBytes of READ_SIZES) results.push(await cell(context, fio, bench, 'read', objectBytes))
      results.push(await cell(context, fio, bench, 'write', WRITE_SIZE))
      results.push(await getDuringDemotion(context, directory))
      return results
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
}

async function cell(
  context: SuiteContext,
  fio: Fio | undefined,
  bench: SsdBench,
  operation: 'read' | 'write',
  objectBytes: number,
): Promise<Result> {
  await bench.load(objectBytes, context.poolBytes)
  const setting = { operation, blockBytes: objectBytes, depth: BATCH * BATCHES }
  return await compare(context, {
    name: `ssd/${operation}/${sizeName(objectBytes)}/batch${BATCH}`,
    unit: 'GB/s',
    ours: bench.contender(operation),
    ...(fio != null && {
      ceilings: { fio: fio.contender(setting) },
      rivals: { 'fio in batches': fio.contender({ ...setting, batch: BATCH }) },
    }),
    targets: [{ over: 'ceiling', atLeast: objectBytes < 64 * KIB ? 0.7 : 0.95 }],
  })
}

/** What a get costs while its node demotes, beside the same get while nobody puts anything. */
async function getDuringDemotion(context: SuiteContext, directory: string): Promise<Result> {
  const dramBytes = (context.short ? 32 : 256) * MIB
  await using bench = await DemotionBench.start(directory, dramBytes, DEMOTED_BYTES_PER_S)
  return await compare(context, {
    name: 'ssd/getDuringDemotion/p99',
    unit: 'µs',
    better: 'less',
    ours: bench.contender('write'),
    ceilings: { idle: bench.contender('pause') },
    targets: [{ over: 'ceiling', atLeast: 0.5 }],
  })
}

/** A tier that is full of objects of one size. */
class SsdBench implements AsyncDisposable {
  readonly #host: Host
  readonly #tier: Tier
  readonly #region: Region
  readonly #signal = new AbortController().signal
  #objectBytes = 0
  #objects: TierAllocation[] = []
  #nextSlice = 0
  #generation = 0

  private constructor(host: Host) {
    this.#host = host
    this.#tier = host.get(TIER)
    this.#region = host.get(MEMORY).createRegion({ byteLength: PLACES * Math.max(...READ_SIZES) })
  }

  static async start(directory: string, poolBytes: number): Promise<SsdBench> {
    // What is written while it takes the place of something else needs room beside it.
    const capacityBytes = poolBytes + 2 * BATCHES * BATCH * WRITE_SIZE
    const bench = new SsdBench(await new Host([memory(), ssd({ directory, capacityBytes })]).start())
    await bench.#region.prefault?.()
    return bench
  }

  async load(objectBytes: number, poolBytes: number): Promise<void> {
    await this.#free(this.#objects.splice(0))
    this.#objectBytes = objectBytes
    while (this.#objects.length < Math.floor(poolBytes / objectBytes)) await this.#write(BATCH)
  }

  contender(operation: 'read' | 'write'): Contender {
    const once = operation === 'read' ? () => this.#read(BATCH) : () => this.#replace(BATCH)
    return durationMs => measure(once, { durationMs, depth: BATCHES, scale: 1e-9 })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#region.close()
    await this.#host.stop()
  }

  async #read(count: number): Promise<number> {
    const batch = Array.from({ length: count }, () => {
      const allocation = this.#objects[Math.floor(Math.random() * this.#objects.length)]!
      return { allocation, offset: 0, into: this.#slice() }
    })
    return await bytesOf(this.#tier.read(batch, { signal: this.#signal }))
  }

  /** As a full cache does: the oldest go, and the new ones are there when their commit has settled. */
  async #replace(count: number): Promise<number> {
    const freed = this.#free(this.#objects.splice(0, count))
    const bytes = await this.#write(count)
    await freed
    return bytes
  }

  async #write(count: number): Promise<number> {
    const batch = Array.from({ length: count }, () => {
      const allocation = this.#tier.allocate(this.#objectBytes)
      if (allocation == null) throw new Error('The tier is full')
      return { allocation, from: this.#slice() }
    })
    const bytes = await bytesOf(this.#tier.write(batch, { signal: this.#signal }))
    await Promise.all(
      batch.map(({ allocation }) => {
        const generation = ++this.#generation
        const identity = { key: `object ${generation}`, generation, byteLength: this.#objectBytes }
        return this.#tier.commit!(allocation, identity)
      }),
    )
    this.#objects.push(...batch.map(({ allocation }) => allocation))
    return bytes
  }

  async #free(allocations: readonly TierAllocation[]): Promise<void> {
    await Promise.all(allocations.map(async allocation => this.#tier.free(allocation)))
  }

  #slice(): Slice {
    const offset = (this.#nextSlice++ % PLACES) * this.#objectBytes
    return { region: this.#region, offset, byteLength: this.#objectBytes }
  }
}

/** @throws what an operation failed with */
function bytesOf(stream: ReturnType<Tier['read']>): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0
    let failure: Error | undefined
    stream.subscribe({
      next: completion => {
        bytes += completion.bytes
        failure ??= completion.error
      },
      error: reject,
      complete: () => {
        if (failure == null) resolve(bytes)
        else reject(failure)
      },
    })
  })
}
