import { expect } from 'chai'
import { kib, mib } from '@mooncake-ts/core'
import { randomBytes } from '@mooncake-ts/testkit'
import {
  atEnd,
  batchOf,
  bytesOf,
  cleanUp,
  codes,
  expose,
  held,
  onlyInGuest,
  regionOf,
  run,
  secondRail,
  soon,
  startNode,
  system,
  systemLater,
  NEEDS_GUEST,
  PAIRS_OF_LINK,
} from './support.js'

describe('several devices', function () {
  this.timeout(120_000)
  before(NEEDS_GUEST, onlyInGuest)
  afterEach(cleanUp)

  async function rails() {
    await secondRail()
    const a = await startNode({ deviceNames: ['rxe0', 'rxe2'] })
    const b = await startNode({ deviceNames: ['rxe1', 'rxe3'] })
    const [local, exposed] = [regionOf(mib(16)), regionOf(mib(16))]
    const { window } = expose(b.transport, exposed)
    bytesOf(local).set(randomBytes(mib(16), 1))
    // Both links are up before anything is counted.
    const bothPosted = async (): Promise<boolean> => {
      await run(a.transport, batchOf('write', regionOf(kib(256)), window, kib(64)))
      return ['rxe0', 'rxe2'].every(device => a.transport.stats.get(device)!.postedCalls > 0)
    }
    await soon(bothPosted)
    return { a, b, local, exposed, window }
  }

  const sent = (device: string): number =>
    Number(/sent_pkts (\d+)/.exec(system('rdma', 'statistic', 'show', 'link', `${device}/1`))?.[1])

  it('spread what there is to move', async () => {
    const { a, local, exposed, window } = await rails()
    const before = [sent('rxe0'), sent('rxe2')] as const
    for (const kind of ['write', 'read'] as const) {
      expect(codes(await run(a.transport, batchOf(kind, local, window, mib(1))))).to.deep.equal({ OK: 16 })
    }
    expect(bytesOf(exposed).equals(bytesOf(local))).to.equal(true)
    const counts = [sent('rxe0') - before[0], sent('rxe2') - before[1]] as const
    // Packets that were sent again count too.
    expect(Math.min(...counts) / Math.max(...counts), counts.join(' and ')).to.be.above(0.25)
  })

  it('one that goes down in mid-transfer is left out, and the transfer completes over the other', async () => {
    const { a, local, exposed, window } = await rails()
    atEnd(() => system('ip', 'link', 'set', 'c0', 'up'))
    const down = systemLater('ip', 'link', 'set', 'c0', 'down')
    const one = async (): Promise<boolean> => {
      bytesOf(exposed).fill(0)
      expect(codes(await run(a.transport, batchOf('write', local, window, kib(256))))).to.deep.equal({
        OK: 64,
      })
      expect(bytesOf(exposed).equals(bytesOf(local))).to.equal(true)
      return held(a, 'rxe2').pairs === 0
    }
    await soon(one)
    await down
    expect(held(a, 'rxe0').pairs).to.equal(PAIRS_OF_LINK)
  })

  it('one that is back is used again', async () => {
    const { a, local, window } = await rails()
    system('ip', 'link', 'set', 'c0', 'down')
    await soon(() => held(a, 'rxe2').pairs === 0)
    expect(codes(await run(a.transport, batchOf('write', local, window, mib(1))))).to.deep.equal({ OK: 16 })
    system('ip', 'link', 'set', 'c0', 'up')
    await soon(async () => {
      await run(a.transport, batchOf('write', local, window, mib(4)))
      return held(a, 'rxe2').pairs > 0
    })
  })
})
