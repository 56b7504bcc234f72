import { expect } from 'chai'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { kib, mib, tib } from '@mooncake-ts/core'
import { failureOf, rejectsWith } from '@mooncake-ts/testkit'
import { ssd, type SsdOptions } from '@mooncake-ts/tier-ssd'
import { contentOf } from './crash/content.js'
import { TierBench } from './support/tier-bench.js'

describe('the directory of a tier', () => {
  let bench: TierBench
  const path = (name: string): string => join(bench.directory, name)
  beforeEach(() => {
    bench = new TierBench()
  })
  afterEach(() => bench.end())

  async function startFails(code: string, options: Partial<SsdOptions> = {}): Promise<string> {
    const error = (await failureOf(bench.start(options))) as Error
    expect(error.cause, error.message).to.have.property('code', code)
    return (error.cause as Error).message
  }

  it('must be there, be a directory, and be writable', async () => {
    expect(await startFails('ERR_IO', { directory: path('missing') })).to.include(
      `${path('missing')} cannot be used: ENOENT`,
    )
    writeFileSync(path('file'), '')
    expect(await startFails('ERR_IO', { directory: path('file') })).to.include('ENOTDIR')
    expect(await startFails('ERR_IO', { directory: '/proc/self' })).to.match(/ENOENT|EACCES/)
    expect(readdirSync(bench.directory)).to.deep.equal(['file'])
  })

  it('belongs to one tier at a time', async () => {
    await bench.start()
    await bench.put(bench.identity('a', 5000))
    const other = new TierBench()
    const error = (await failureOf(other.start({ directory: bench.directory }))) as Error
    expect(error.cause).to.have.property('code', 'ERR_DIRECTORY_IN_USE')
    await bench.stop()
    await other.start({ directory: bench.directory })
    expect(await other.recoveredKeys()).to.deep.equal(['a'])
    await other.end()
  })

  it('belongs to one cluster, where that has a name', async () => {
    await bench.start({ clusterId: 'blue' })
    await bench.put(bench.identity('a', 5000))
    await bench.stop()
    expect(await startFails('ERR_DIRECTORY_FOREIGN', { clusterId: 'red' })).to.include(
      'belongs to the cluster blue, not to red',
    )
    await bench.start()
    await bench.stop()
    await bench.start({ clusterId: 'blue' })
    expect(await bench.recoveredKeys()).to.deep.equal(['a'])
  })

  it('is refused with the format of another version, a damaged superblock, or none', async () => {
    await bench.start()
    await bench.put(bench.identity('a', 5000))
    await bench.stop()
    const text = readFileSync(path('superblock.json'), 'utf8')
    for (const wrong of [text.replace('"version": 1', '"version": 2'), text.slice(0, 20), '', '[]', 'null']) {
      writeFileSync(path('superblock.json'), wrong)
      expect(await startFails('ERR_DIRECTORY_FOREIGN')).to.include('damaged, or not ours')
    }
    rmSync(path('superblock.json'))
    expect(await startFails('ERR_DIRECTORY_FOREIGN')).to.include('no superblock.json')
    writeFileSync(path('superblock.json'), text)
    await bench.start()
    expect(await bench.recoveredKeys()).to.deep.equal(['a'])
  })

  it('may hold what is not of the tier', async () => {
    mkdirSync(path('lost+found'))
    writeFileSync(path('notes'), 'mine')
    await bench.start()
    expect(readFileSync(path('notes'), 'utf8')).to.equal('mine')
    expect(existsSync(path('lost+found'))).to.equal(true)
  })

  it('must have the space, and is asked for it before any is taken', async () => {
    expect(await startFails('ERR_NO_SPACE', { capacityBytes: tib(8) })).to.match(
      /has room for .*, not for 8.00 TiB/,
    )
    expect(readdirSync(bench.directory).filter(name => name.startsWith('data'))).to.deep.equal([])
  })

  it('has its space set aside at start, in files of the size that it began with', async () => {
    await bench.start({ capacityBytes: mib(5), fileBytes: mib(2) })
    const sizes = (): number[] => [0, 1, 2].map(number => statSync(path(`data-00000${number}`)).blocks * 512)
    expect(sizes()).to.deep.equal([mib(2), mib(2), mib(1)])
    await bench.stop()
    await bench.start({ capacityBytes: mib(6), fileBytes: mib(4) })
    expect(sizes()).to.deep.equal([mib(2), mib(2), mib(2)])
  })

  it('may be given more capacity, or less, which drops what lies beyond', async () => {
    await bench.start({ capacityBytes: mib(4), fileBytes: mib(1) })
    const identities = Array.from({ length: 8 }, (_, i) => bench.identity(`key ${i}`, kib(500)))
    for (const identity of identities) await bench.put(identity)
    await bench.stop()
    await bench.start({ capacityBytes: mib(2) })
    expect(bench.tier.capacityBytes).to.equal(mib(2))
    const kept = ['key 0', 'key 1', 'key 2', 'key 3']
    expect(await bench.recoveredKeys()).to.deep.equal(kept)
    expect(readdirSync(bench.directory).filter(name => name.startsWith('data'))).to.have.lengthOf(2)
    await bench.stop()
    await bench.start({ capacityBytes: mib(8) })
    const recovered = await bench.recover()
    expect(recovered.map(({ identity }) => identity.key)).to.deep.equal(kept)
    const completions = await bench.read(...recovered.map(({ allocation }) => allocation))
    completions.forEach(({ bytesRead }, i) => {
      expect(bytesRead.equals(contentOf(identities[i]!))).to.equal(true)
    })
    expect(bench.tier.allocate(mib(6))).to.not.equal(undefined)
  })

  it('gives nothing wrong when bits of the data have turned', async () => {
    await bench.start()
    const good = await bench.put(bench.identity('good', 5000))
    const bad = await bench.put(bench.identity('bad', 5000))
    await bench.stop()
    const file = openSync(path('data-000000'), 'r+')
    writeSync(file, Buffer.from([1]), 0, 1, kib(8) + 4999)
    closeSync(file)
    await bench.start()
    const recovered = await bench.recover()
    expect(recovered.map(({ identity }) => identity.key)).to.deep.equal(['bad', 'good'])
    const [first, second] = await bench.read(...recovered.map(({ allocation }) => allocation))
    expect(first!.error).to.have.property('code', 'ERR_CHECKSUM_MISMATCH')
    expect(second!.bytes).to.equal(5000)
    expect(bench.badObjects).to.equal(1)
    expect([good.byteLength, bad.byteLength]).to.deep.equal([5000, 5000])
  })

  it('takes the page cache and says so once, where the file system refuses direct I/O', async () => {
    await bench.start({ directIo: false })
    const identity = bench.identity('a', 5000)
    expect((await bench.read(await bench.put(identity)))[0]!.bytesRead.equals(contentOf(identity))).to.equal(
      true,
    )
    await bench.stop()
    await bench.start({}, engine => {
      engine.fault = ({ file, kind }) => (file === 'probe' && kind === 'write' ? { result: -22 } : undefined)
    })
    expect(bench.lines.filter(line => line.includes('Direct I/O is refused'))).to.have.lengthOf(1)
    expect(await bench.recoveredKeys()).to.deep.equal(['a'])
  })
})

describe('ssd', () => {
  it('has the defaults of a slow tier', async () => {
    const bench = new TierBench()
    await bench.start()
    const { name, kind, priority, tags, supports } = bench.tier
    expect([name, kind, priority, tags]).to.deep.equal(['ssd-0', 'STORAGE', 10, []])
    expect(supports).to.deep.equal({ directMemory: false, persistence: true, partialRead: false })
    await bench.end()
  })

  it('counts whole blocks against its capacity', async () => {
    const bench = new TierBench()
    await bench.start({ capacityBytes: kib(16) + 100 })
    expect(bench.tier.capacityBytes).to.equal(kib(16))
    const one = bench.tier.allocate(1)!
    expect(bench.tier.usedBytes).to.equal(kib(4))
    expect(bench.tier.allocate(kib(12) + 1)).to.equal(undefined)
    expect(bench.tier.allocate(kib(12))).to.not.equal(undefined)
    await bench.tier.free(one)
    expect(() => bench.tier.free(one)).to.throw('is not held')
    await bench.end()
  })

  it('refuses options that make no sense', async () => {
    const base = { directory: '/tmp', capacityBytes: mib(1) }
    for (const wrong of [
      { directory: '' },
      { capacityBytes: 4095 },
      { capacityBytes: 1.5 },
      { capacityBytes: tib(17) },
      { durability: 'never' as 'ack-on-write' },
      { name: '' },
      { priority: Number.NaN },
      { queueDepth: 0 },
      { stagingBytes: 1000 },
      { fileBytes: 5000 },
      { indexSlackBytes: -1 },
    ])
      await rejectsWith(() => ssd({ ...base, ...wrong }), 'ERR_INVALID_PARAMS')
  })
})
