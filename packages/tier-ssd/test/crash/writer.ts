/**
 * Puts and frees objects until it is killed, and says so on stdout before and after each step. A line that
 * was written is in the pipe, whatever becomes of this process.
 */
import { writeSync } from 'node:fs'
import { MEMORY, TIER, type ObjectIdentity, type Region, type TierAllocation } from '@mooncake-ts/core'
import { collect, randomUint32, testHost } from '@mooncake-ts/testkit'
import { ssd } from '@mooncake-ts/tier-ssd'
import { contentOf } from './content.js'
import { settings } from './settings.js'

const WRITERS = 6
const SLICE_BYTES = 128 * 1024

const [directory, durability, seed] = process.argv.slice(2) as [
  string,
  'ack-on-write' | 'ack-on-fsync',
  string,
]
const next = randomUint32(Number(seed))
const signal = new AbortController().signal
const say = (word: string, { key, generation, byteLength }: ObjectIdentity): void => {
  writeSync(1, `${word} ${key} ${generation} ${byteLength}\n`)
}

const host = await testHost([ssd({ directory, durability, ...settings })])
const tier = host.get(TIER)
const objects: Array<{ readonly identity: ObjectIdentity; readonly allocation: TierAllocation }> = []
for await (const found of tier.recover!()) objects.push(found)
let lastGeneration = Date.now() * 1000

const region = host.get(MEMORY).createRegion({ byteLength: WRITERS * SLICE_BYTES })
writeSync(1, 'ready\n')
await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(region, writer)))

async function write(into: Region, writer: number): Promise<never> {
  for (;;) {
    const isSmall = next() % 2 === 0
    const byteLength = next() % (isSmall ? 4000 : SLICE_BYTES - 64)
    const allocation = tier.allocate(byteLength)
    if (allocation == null || next() % 8 === 0) await free()
    if (allocation == null) continue
    const identity = { key: `key-${next() % 300}`, generation: ++lastGeneration, byteLength }
    // Some slices are aligned, some are not.
    const from = { region: into, offset: writer * SLICE_BYTES + (next() % 2) * 17, byteLength }
    into.view(from.offset, byteLength).set(contentOf(identity))
    const [completion] = await collect(tier.write([{ allocation, from }], { signal }))
    if (completion?.error != null) throw completion.error
    say('put', identity)
    await tier.commit!(allocation, identity)
    say('acknowledged', identity)
    objects.push({ identity, allocation })
  }
}

async function free(): Promise<void> {
  const [object] = objects.splice(next() % Math.max(1, objects.length), 1)
  if (object == null) return
  say('free', object.identity)
  await tier.free(object.allocation)
  say('freed', object.identity)
}
