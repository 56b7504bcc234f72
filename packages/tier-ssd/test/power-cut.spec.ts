import { expect } from 'chai'
import { rmSync } from 'node:fs'
import { kib, mib, type ObjectIdentity, type TierAllocation } from '@mooncake-ts/core'
import { randomUint32 } from '@mooncake-ts/testkit'
import type { Durability, SsdOptions } from '@mooncake-ts/tier-ssd'
import { contentOf } from './crash/content.js'
import { PowerCut } from './support/power-cut.js'
import { TierBench } from './support/tier-bench.js'

const ROUNDS = Number(process.env['MOONCAKE_POWER_CUT_ROUNDS'] ?? 4)
const WRITERS = 4
const OPERATIONS_MAX = 600

type Fate = 'put' | 'acknowledged' | 'free' | 'freed'

/** Buffered, because the test looks at the files meanwhile; what is durable and what is not is the same. */
const settings = (durability: Durability): Partial<SsdOptions> => ({
  durability,
  capacityBytes: mib(1),
  fileBytes: kib(256),
  indexSlackBytes: kib(4),
  directIo: false,
})

interface Remains {
  readonly directory: string
  readonly fates: ReadonlyMap<string, Fate>
  readonly lostAtMost: number
}

const nameOf = ({ key, generation, byteLength }: ObjectIdentity): string =>
  `${key} ${generation} ${byteLength}`

/** Puts and frees until the power goes, at a random operation of the disk. */
async function runUntilCut(bench: TierBench, durability: Durability, seed: number): Promise<Remains> {
  const next = randomUint32(seed)
  const cutAt = 20 + (next() % OPERATIONS_MAX)
  const fates = new Map<string, Fate>()
  let remains: Remains | undefined
  await bench.start(settings(durability), engine => {
    const power = new PowerCut(bench.directory, engine, seed, count => {
      if (count < cutAt || remains != null) return
      remains = { directory: power.copy(), fates: new Map(fates), lostAtMost: power.lostAtMost }
    })
  })
  const objects: Array<{ readonly identity: ObjectIdentity; readonly allocation: TierAllocation }> = []
  const free = async (): Promise<void> => {
    const [object] = objects.splice(next() % Math.max(1, objects.length), 1)
    if (object == null) return
    fates.set(nameOf(object.identity), 'free')
    await bench.tier.free(object.allocation)
    fates.set(nameOf(object.identity), 'freed')
  }
  const write = async (): Promise<void> => {
    while (remains == null) {
      const identity = bench.identity(`key-${next() % 50}`, 1 + (next() % kib(60)))
      const allocation = bench.tier.allocate(identity.byteLength)
      if (allocation == null) {
        await free()
        continue
      }
      await bench.write(allocation, identity)
      fates.set(nameOf(identity), 'put')
      await bench.tier.commit!(allocation, identity)
      fates.set(nameOf(identity), 'acknowledged')
      objects.push({ identity, allocation })
    }
  }
  await Promise.all(Array.from({ length: WRITERS }, write))
  await bench.stop()
  return remains!
}

async function inspect({
  directory,
}: Remains): Promise<{ readonly whole: Set<string>; readonly bad: Set<string> }> {
  const bench = new TierBench()
  try {
    await bench.start({ ...settings('ack-on-write'), directory })
    const whole = new Set<string>()
    const bad = new Set<string>()
    for (const { identity, allocation } of await bench.recover()) {
      const [completion] = await bench.read(allocation)
      if (completion!.error != null) bad.add(nameOf(identity))
      else {
        expect(
          completion!.bytesRead.equals(contentOf(identity)),
          `${nameOf(identity)} has its own bytes`,
        ).to.equal(true)
        whole.add(nameOf(identity))
      }
    }
    return { whole, bad }
  } finally {
    await bench.end()
    rmSync(directory, { recursive: true })
  }
}

for (const durability of ['ack-on-write', 'ack-on-fsync'] as const) {
  describe(`the power goes (${durability})`, function () {
    this.timeout(60_000 + ROUNDS * 10_000)

    it(`loses nothing that was promised, and gives no wrong bytes: ${ROUNDS} times`, async () => {
      let lost = 0
      for (let seed = 1; seed <= ROUNDS; seed++) {
        const bench = new TierBench()
        const remains = await runUntilCut(bench, durability, seed)
        await bench.end()
        const { whole, bad } = await inspect(remains)
        lost += remains.lostAtMost
        for (const [name, fate] of remains.fates) {
          const isThere = whole.has(name) || bad.has(name)
          if (fate === 'freed') expect(isThere, `${name} has gone, seed ${seed}`).to.equal(false)
          if (fate === 'acknowledged' && durability === 'ack-on-fsync')
            expect(whole.has(name), `${name} is there, seed ${seed}`).to.equal(true)
        }
        // A record is written when its data are durable, and its place has other bytes when its removal is.
        if (durability === 'ack-on-fsync') expect([...bad], `bad objects, seed ${seed}`).to.deep.equal([])
      }
      expect(lost, 'writes that were not durable').to.be.above(0)
    })
  })
}
