import { expect } from 'chai'
import { buildHolder, runFixture } from './support.js'

const clean = { code: 0, signal: null }

describe('A process', function () {
  this.timeout(60_000)
  before(buildHolder)

  it('can exit with copies in flight', async () => {
    expect(await runFixture('death.js', 'exit')).to.deep.equal({ code: 7, signal: null, output: '' })
  })

  it('can die of an exception with copies in flight', async () => {
    const { code, signal, output } = await runFixture('death.js', 'throw')
    expect({ code, signal }).to.deep.equal({ code: 1, signal: null })
    expect(output).to.contain('thrown on purpose')
  })

  it('ends by itself only when its copies are done', async () => {
    expect(await runFixture('death.js', 'natural')).to.deep.equal({ ...clean, output: 'all copied' })
  })

  it('is not kept alive by an idle pool', async () => {
    expect(await runFixture('death.js', 'idle')).to.deep.equal({ ...clean, output: 'idle' })
  })

  it('can forget regions, buffers and the pool with copies in flight', async () => {
    expect(await runFixture('death.js', 'collect')).to.deep.equal({ ...clean, output: '' })
  })

  it('can exit while pages are being taken', async () => {
    const end = { code: 7, signal: null, output: '' }
    expect(await runFixture('death.js', 'prefault-exit')).to.deep.equal(end)
  })

  it('ends by itself only when pages were taken, of a forgotten region too', async () => {
    expect(await runFixture('death.js', 'prefault-natural')).to.deep.equal({ ...clean, output: 'all taken' })
  })

  it('can forget a buffer that another addon holds', async () => {
    expect(await runFixture('death.js', 'hold')).to.deep.equal({ ...clean, output: 'released' })
  })

  it('counts down to nothing when regions and views are collected', async () => {
    expect(await runFixture('death.js', 'stats')).to.deep.equal({ ...clean, output: 'nothing live' })
  })

  it('can have wrapped buffers collected', async () => {
    expect(await runFixture('death.js', 'unwrap')).to.deep.equal({ ...clean, output: 'all collected' })
  })
})

describe('Worker threads', function () {
  this.timeout(60_000)
  before(buildHolder)

  const scenarios = {
    together: 'can load the addon at the same time',
    terminate: 'can be terminated with copies in flight, on their own heap too',
    prefault: 'can be terminated while pages are being taken',
    interrupt: 'can be terminated in the middle of a call',
    exit: 'can be running copies when the process exits',
    'hold-wrapped': 'end only when other addons have let go of their buffers',
    'hold-mapped': 'can end before other addons let go of a region',
  }
  for (const [scenario, title] of Object.entries(scenarios)) {
    it(title, async () => {
      expect(await runFixture('workers.js', scenario)).to.deep.equal({ ...clean, output: 'ended' })
    })
  }
})
