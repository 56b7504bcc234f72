/**
 * What a get costs while its node demotes, beside the same get on an idle node and on one that takes the same
 * puts and evicts: `node dist-test/bench/demotion.js DIRECTORY [SECONDS] [PUT_MIB_PER_S]`. The writer is a
 * process of its own. Idle and loaded rounds alternate; figures are ratios of one run, and the directory
 * decides which disk is measured.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KIB, MIB, silentLogger } from '@mooncake-ts/core'
import { masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { tcp } from '@mooncake-ts/transport-tcp'
import { LocalCluster } from '../../dist/replay/cluster.js'

const OBJECT_BYTES = 128 * KIB
const HOT = 64
const DRAM_BYTES = 256 * MIB
const SSD_BYTES = 4096 * MIB
/** Objects of one put. */
const BATCH = 4
const ROUNDS = 4
/** What the last phase began has ended. */
const SETTLE_MS = 300

/** Milliseconds of all gets of a phase that hit. */
class Latency {
  readonly samplesMs: number[] = []
  misses = 0

  at(share: number): number {
    const sorted = Float64Array.from(this.samplesMs).sort()
    return sorted[Math.floor(share * sorted.length)] ?? NaN
  }
}

async function connect(masterEndpoint: string, name: string): Promise<Store> {
  return await createStore({
    name,
    logger: silentLogger,
    master: masterClient({ endpoints: [masterEndpoint] }),
    rpc: rpc({ listen: [] }),
    transports: [tcp()],
  })
}

async function readFor(store: Store, seconds: number, keyOf: () => string, into: Latency): Promise<void> {
  const region = store.createRegion(OBJECT_BYTES)
  const target = { region, offset: 0, byteLength: OBJECT_BYTES }
  const endMs = performance.now() + seconds * 1000
  while (performance.now() < endMs) {
    const startMs = performance.now()
    const found = await store.getInto(keyOf(), target).then(
      () => true,
      () => false,
    )
    if (found) into.samplesMs.push(performance.now() - startMs)
    else into.misses++
  }
  region.close()
}

/** Puts new objects at a rate, while it is told to, until its parent goes. */
async function runWriter(masterEndpoint: string, bytesPerS: number): Promise<void> {
  await using store = await connect(masterEndpoint, 'writer')
  const values = store.createRegion(BATCH * OBJECT_BYTES)
  let on = false
  let gone = false
  process.on('message', message => (on = message === 'on'))
  process.on('disconnect', () => (gone = true))
  process.send!('ready')
  for (let written = 0; !gone;) {
    await sleep((1000 * BATCH * OBJECT_BYTES) / bytesPerS)
    if (!on) continue
    const entries = Array.from({ length: BATCH }, (_, i) => ({
      key: `cold/${written++}`,
      value: { region: values, offset: i * OBJECT_BYTES, byteLength: OBJECT_BYTES },
    }))
    const transfer = store.putMany(entries)
    transfer.completions$.subscribe({ error: () => {} })
    await transfer.done
    if (process.connected) process.send!(written)
  }
}

async function measure(directory: string | undefined, seconds: number, bytesPerS: number) {
  const ssd = directory == null ? undefined : { directory, capacityBytes: SSD_BYTES }
  await using cluster = await LocalCluster.start({ nodes: 1, capacityBytes: DRAM_BYTES, ssd })
  await using reader = await connect(cluster.masterEndpoint, 'reader')
  for (let i = 0; i < HOT; i++) await reader.put(`hot/${i}`, Buffer.alloc(OBJECT_BYTES, i))
  const writer = fork(process.argv[1]!, ['writer', cluster.masterEndpoint, String(bytesPerS)])
  await once(writer, 'message')
  let written = 0
  writer.on('message', count => (written = Number(count)))
  // Memory is full, and demotion is under way, before anything is measured.
  writer.send('on')
  while (written * OBJECT_BYTES < 1.2 * DRAM_BYTES) await once(writer, 'message')
  let next = 0
  const hot = (): string => `hot/${next++ % HOT}`
  const cold = (): string => `cold/${next++ % 256}`
  const latencies = {
    idle: new Latency(),
    loaded: new Latency(),
    diskIdle: new Latency(),
    diskLoaded: new Latency(),
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const phase of ['off', 'on'] as const) {
      writer.send(phase)
      await sleep(SETTLE_MS)
      await readFor(reader, seconds, hot, phase === 'on' ? latencies.loaded : latencies.idle)
      if (ssd != null)
        await readFor(reader, seconds, cold, phase === 'on' ? latencies.diskLoaded : latencies.diskIdle)
    }
  }
  writer.disconnect()
  await once(writer, 'exit')
  const demoted = await cluster.countByTier('store_demoted_bytes_total')
  const sizes = `${Math.round((written * OBJECT_BYTES) / MIB)} MiB put, ${Math.round((demoted['dram-0'] ?? 0) / MIB)} MiB demoted`
  process.stdout.write(`${directory == null ? 'evicting' : 'demoting'}: ${sizes}\n`)
  return latencies
}

async function main(parent: string, seconds: number, bytesPerS: number): Promise<void> {
  const directory = await mkdtemp(join(parent, 'demotion-'))
  try {
    const evicting = await measure(undefined, seconds, bytesPerS)
    const demoting = await measure(directory, seconds, bytesPerS)
    for (const [name, phases] of Object.entries({ evicting, demoting })) {
      for (const [phase, latency] of Object.entries(phases)) {
        if (latency.samplesMs.length === 0) continue
        const [p50Ms, p99Ms] = [latency.at(0.5).toFixed(3), latency.at(0.99).toFixed(3)]
        const counts = `${latency.samplesMs.length} gets, ${latency.misses} misses`
        process.stdout.write(`${name} ${phase}: p50 ${p50Ms} ms, p99 ${p99Ms} ms, ${counts}\n`)
      }
    }
    const ratio = (a: Latency, b: Latency, share: number): string => (a.at(share) / b.at(share)).toFixed(2)
    for (const share of [0.5, 0.99]) {
      const [{ idle, loaded, diskIdle, diskLoaded }, name] = [demoting, `p${share * 100}`]
      process.stdout.write(`${name} in memory, demoting / idle: ${ratio(loaded, idle, share)}\n`)
      process.stdout.write(
        `${name} in memory, evicting / idle: ${ratio(evicting.loaded, evicting.idle, share)}\n`,
      )
      process.stdout.write(`${name} on the disk, demoting / idle: ${ratio(diskLoaded, diskIdle, share)}\n`)
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const [, , first, second, third] = process.argv
if (first === 'writer') await runWriter(second!, Number(third))
else await main(first ?? '.', Number(second ?? 1), Number(third ?? 200) * MIB)
