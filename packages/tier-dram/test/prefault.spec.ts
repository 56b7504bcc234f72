import { expect } from 'chai'
import {
  CLOCK,
  gib,
  Host,
  LOGGER,
  MEMORY,
  mib,
  MooncakeError,
  TIER,
  value,
  type Logger,
  type MemoryProvider,
  type Region,
} from '@mooncake-ts/core'
import { createMemory, memoryStats } from '@mooncake-ts/memory'
import { rejectsWith, until, VirtualClock } from '@mooncake-ts/testkit'
import { dram, type DramOptions } from '@mooncake-ts/tier-dram'

/** A dram tier in a Host, over real memory, with a clock that stands still and a log to read. */
class Bench {
  readonly clock = new VirtualClock()
  readonly lines: string[] = []
  readonly regions: Region[] = []
  readonly host: Host
  readonly #memory = createMemory()

  /** `prefault` stands in for that of the Region. */
  constructor(options: DramOptions, prefault?: 'none' | ((region: Region) => Promise<void>)) {
    const logger: Logger = {
      debug: () => {},
      info: line => this.lines.push(line),
      warn: line => this.lines.push(line),
      error: line => this.lines.push(line),
      child: () => logger,
    }
    const provider: MemoryProvider = {
      copyPool: this.#memory.copyPool,
      wrap: bytes => this.#memory.wrap(bytes),
      createRegion: init => {
        const region = this.#memory.createRegion(init)
        if (prefault === 'none') Object.assign(region, { prefault: undefined })
        else if (prefault != null) region.prefault = () => prefault(region)
        this.regions.push(region)
        return region
      },
    }
    this.host = new Host([
      value(CLOCK, this.clock),
      value(LOGGER, logger),
      value(MEMORY, provider),
      dram(options),
    ])
  }
}

describe('dram, prefault', () => {
  it('has all pages before it has started, unless told otherwise', async () => {
    const asked: number[] = []
    const count = async (region: Region): Promise<void> => void asked.push(region.byteLength)
    const eager = new Bench({ capacityBytes: mib(3) }, count)
    await eager.host.start()
    expect(asked).to.deep.equal([mib(3)])
    const lazy = new Bench({ capacityBytes: mib(3), prefault: false }, count)
    await lazy.host.start()
    expect(asked).to.deep.equal([mib(3)])
    await Promise.all([eager.host.stop(), lazy.host.stop()])
  })

  it('tells how long it took, when that was a second or more', async () => {
    const bench: Bench = new Bench({ capacityBytes: mib(1) }, () => bench.clock.advance(1200))
    await bench.host.start()
    expect(bench.lines).to.deep.equal(['All memory was taken from the system'])
    await bench.host.stop()
  })

  it('serves after 10 s, and goes on with the rest', async () => {
    let end: (() => void) | undefined
    const bench = new Bench({ capacityBytes: mib(1) }, () => new Promise(resolve => (end = resolve)))
    const starting = bench.host.start()
    await until(() => end != null)
    await bench.clock.advance(9_999)
    expect(bench.lines).to.deep.equal([])
    await bench.clock.advance(1)
    await starting
    expect(bench.lines).to.deep.equal(['Serves while the rest of the memory is taken from the system'])
    expect(bench.host.get(TIER).allocate(10)).to.not.equal(undefined)
    end!()
    await until(() => bench.lines.length === 2)
    await bench.host.stop()
  })

  it('stops in the middle of it: the Region is closed, and at rest when stop settles', async () => {
    const before = memoryStats().liveRegions
    const bench = new Bench({ capacityBytes: gib(512) })
    const starting = bench.host.start()
    await until(() => bench.regions.length === 1)
    await bench.clock.advance(10_000)
    await starting
    await bench.host.stop()
    expect(bench.regions[0]!.closed).to.equal(true)
    expect(memoryStats().liveRegions).to.be.at.most(before)
    expect(bench.lines).to.have.length(1)
  })

  it('gives up when the start is given up', async () => {
    const before = memoryStats().liveRegions
    const bench = new Bench({ capacityBytes: gib(512) })
    const enough = new AbortController()
    const starting = bench.host.start(enough.signal)
    await until(() => bench.regions.length === 1)
    enough.abort(new MooncakeError('ERR_SHUTTING_DOWN', 'enough'))
    await rejectsWith(starting, 'ERR_SHUTTING_DOWN')
    await bench.host.stop()
    expect(bench.regions[0]!.closed).to.equal(true)
    expect(memoryStats().liveRegions).to.be.at.most(before)
  })

  it('does not start where the pages cannot be had', async () => {
    const noMemory = new MooncakeError('ERR_OUT_OF_MEMORY', 'Cannot allocate memory')
    const bench = new Bench({ capacityBytes: mib(1) }, () => Promise.reject(noMemory))
    const error = await rejectsWith(bench.host.start(), 'ERR_PLUGIN_START')
    expect(error.message).to.include('dram-0 could not get its 1.00 MiB of memory: Cannot allocate memory')
    expect(bench.regions[0]!.closed).to.equal(true)
  })

  it('says so where pages cannot be had later', async () => {
    let fail: ((error: MooncakeError) => void) | undefined
    const bench = new Bench(
      { capacityBytes: mib(1) },
      () => new Promise((_resolve, reject) => (fail = reject)),
    )
    const starting = bench.host.start()
    await until(() => fail != null)
    await bench.clock.advance(10_000)
    await starting
    fail!(new MooncakeError('ERR_OUT_OF_MEMORY', 'Cannot allocate memory'))
    await until(() => bench.lines.length === 2)
    expect(bench.lines[1]).to.equal('Not all of the memory could be taken from the system')
    await bench.host.stop()
  })

  it('is left out where Regions have no such thing', async () => {
    const bench = new Bench({ capacityBytes: mib(1) }, 'none')
    await bench.host.start()
    expect(bench.regions[0]).to.have.property('prefault', undefined)
    await bench.host.stop()
  })
})
