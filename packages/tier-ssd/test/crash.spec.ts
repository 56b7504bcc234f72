import { expect } from 'chai'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { MEMORY, mib, TIER, type Completion, type ObjectIdentity } from '@mooncake-ts/core'
import { collect, randomUint32, testHost } from '@mooncake-ts/testkit'
import { ssd, type Durability } from '@mooncake-ts/tier-ssd'
import { contentOf } from './crash/content.js'
import { settings } from './crash/settings.js'

const WRITER = fileURLToPath(new URL('./crash/writer.js', import.meta.url))
const ROUNDS = Number(process.env['MOONCAKE_CRASH_ROUNDS'] ?? 5)
const SEED = Number(process.env['MOONCAKE_CRASH_SEED'] ?? 1)
/** Lines of the writer before it is killed, at most. */
const LINES_MAX = 1500
const ROUND_MS_MAX = 20_000

/** What the world outside of the writer knows of an object. */
type Fate = 'put' | 'acknowledged' | 'free' | 'freed'

const nameOf = ({ key, generation, byteLength }: ObjectIdentity): string =>
  `${key} ${generation} ${byteLength}`

/** Runs a writer, kills it after so many lines, and notes what it said. */
async function runAndKill(
  directory: string,
  durability: Durability,
  seed: number,
  fates: Map<string, Fate>,
): Promise<void> {
  const next = randomUint32(seed)
  const linesLeft = next() % LINES_MAX
  const child = spawn(process.execPath, [WRITER, directory, durability, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise(resolve => child.once('close', resolve))
  const timer = setTimeout(() => child.kill('SIGKILL'), ROUND_MS_MAX)
  let lines = 0
  for await (const line of createInterface(child.stdout)) {
    if (line !== 'ready') {
      const space = line.indexOf(' ')
      fates.set(line.slice(space + 1), line.slice(0, space) as Fate)
    }
    if (lines++ >= linesLeft) child.kill('SIGKILL')
  }
  await ended
  clearTimeout(timer)
  expect(lines, 'lines of the writer').to.be.above(linesLeft)
  expect(child.signalCode).to.equal('SIGKILL')
}

interface Found {
  /** Read back whole. */
  readonly whole: Set<string>
  /** In the index, but not what was written: a miss. */
  readonly bad: number
}

/** Opens the tier, reads everything, and looks at every byte. */
async function inspect(directory: string, durability: Durability): Promise<Found> {
  const host = await testHost([ssd({ directory, durability, ...settings })])
  try {
    const tier = host.get(TIER)
    const region = host.get(MEMORY).createRegion({ byteLength: mib(1) })
    const whole = new Set<string>()
    let bad = 0
    for await (const { identity, allocation } of tier.recover!()) {
      const into = { region, offset: 0, byteLength: identity.byteLength }
      const signal = new AbortController().signal
      const [completion] = await collect(tier.read([{ allocation, offset: 0, into }], { signal }))
      if (isBad(completion!)) bad++
      else {
        const isSame = contentOf(identity).equals(region.view(0, identity.byteLength))
        expect(isSame, `${nameOf(identity)} has its own bytes`).to.equal(true)
        expect(whole.has(nameOf(identity)), `${nameOf(identity)} comes once`).to.equal(false)
        whole.add(nameOf(identity))
      }
    }
    region.close()
    return { whole, bad }
  } finally {
    await host.stop()
  }
}

function isBad({ error }: Completion): boolean {
  if (error == null) return false
  expect(error).to.have.property('code', 'ERR_CHECKSUM_MISMATCH')
  return true
}

/** Cuts a file of the index, or turns some of its bits. Gives what it did. */
function damage(directory: string, seed: number): string {
  const next = randomUint32(seed)
  const names = readdirSync(directory).filter(name => name.startsWith('index-'))
  const name = names[next() % names.length]!
  const bytes = readFileSync(join(directory, name))
  if (bytes.length === 0) return 'nothing'
  if (next() % 2 === 0) {
    truncateSync(join(directory, name), next() % bytes.length)
    return `${name} was cut`
  }
  for (let flips = 1 + (next() % 8); flips > 0; flips--) bytes[next() % bytes.length]! ^= 1 << (next() % 8)
  writeFileSync(join(directory, name), bytes)
  return `${name} has other bits`
}

for (const durability of ['ack-on-write', 'ack-on-fsync'] as const) {
  describe(`kill -9 (${durability})`, function () {
    this.timeout((ROUNDS + 1) * ROUND_MS_MAX)
    let directory: string
    beforeEach(() => {
      directory = mkdtempSync('/var/tmp/mooncake-ssd-crash-')
    })
    afterEach(() => {
      rmSync(directory, { recursive: true })
    })

    it(`every acknowledged object is there and whole, none that was freed: ${ROUNDS} times`, async () => {
      const fates = new Map<string, Fate>()
      for (let round = 0; round < ROUNDS; round++) {
        await runAndKill(directory, durability, SEED * 10_000 + round, fates)
        const { whole, bad } = await inspect(directory, durability)
        expect(bad, `objects that cannot be read, round ${round}`).to.equal(0)
        for (const [name, fate] of fates) {
          if (fate === 'acknowledged')
            expect(whole.has(name), `${name} is there, round ${round}`).to.equal(true)
          if (fate === 'freed') expect(whole.has(name), `${name} has gone, round ${round}`).to.equal(false)
        }
        for (const name of whole) expect(fates.has(name), `${name} was put, round ${round}`).to.equal(true)
        fates.clear()
        for (const name of whole) fates.set(name, 'acknowledged')
      }
    })
  })
}

describe('kill -9, and a damaged index', function () {
  this.timeout((ROUNDS + 1) * ROUND_MS_MAX)

  it(`gives whole objects or none, never wrong bytes: ${ROUNDS} times`, async () => {
    const directory = mkdtempSync('/var/tmp/mooncake-ssd-crash-')
    const put = new Map<string, Fate>()
    let survivors = 0
    for (let round = 0; round < ROUNDS; round++) {
      const seed = SEED * 20_000 + round
      await runAndKill(directory, 'ack-on-write', seed, put)
      const what = damage(directory, seed)
      const { whole } = await inspect(directory, 'ack-on-write')
      for (const name of whole)
        expect(put.has(name), `${name} was put, round ${round}, ${what}`).to.equal(true)
      survivors += whole.size
    }
    expect(survivors, 'objects that survived').to.be.above(0)
    rmSync(directory, { recursive: true })
  })
})
