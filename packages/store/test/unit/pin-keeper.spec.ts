import { expect } from 'chai'
import { MooncakeError, silentLogger } from '@mooncake-ts/core'
import { VirtualClock } from '@mooncake-ts/testkit'
import type { PeerClient } from '../../dist/peers/peer-client.js'
import { PinKeeper, PINS_PER_CALL_MAX, type Pin } from '../../dist/peers/pin-keeper.js'

const LEASE_MS = 3000

/** An owner that fails to renew a part of which `refuses` is true. */
function keeperOf(refuses: (part: readonly Pin[]) => boolean = () => false) {
  const clock = new VirtualClock()
  const renewed: Array<readonly Pin[]> = []
  const unpinned: Array<readonly Pin[]> = []
  const warnings: string[] = []
  let idle = 0
  const peer = {
    endpoint: 'owner:1',
    renewPins: (pins: readonly Pin[]) => {
      renewed.push(pins)
      if (refuses(pins)) return Promise.reject(new MooncakeError('ERR_RPC_TIMEOUT'))
      return Promise.resolve(pins.map(() => ({})))
    },
    unpinKeys: (pins: readonly Pin[]) => Promise.resolve(void unpinned.push(pins)),
  } as unknown as PeerClient
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) }
  const keeper = new PinKeeper(peer, clock, logger, () => void idle++)
  const keep = (count: number): Pin[] => {
    const pins = Array.from({ length: count }, (_, i) => ({ key: `k${i}`, operationId: `${i}` }))
    for (const pin of pins) keeper.keep(pin, LEASE_MS)
    return pins
  }
  return { clock, keeper, keep, renewed, unpinned, warnings, idle: () => idle }
}

describe('PinKeeper', () => {
  const count = 2 * PINS_PER_CALL_MAX + 1
  const sizes = [PINS_PER_CALL_MAX, PINS_PER_CALL_MAX, 1]

  it('renews more pins than go into one call, and says which could not be', async () => {
    const { clock, keep, renewed, warnings } = keeperOf(part => part.length === 1)
    const pins = keep(count)
    await clock.advance(LEASE_MS / 3)
    expect(renewed.map(({ length }) => length)).to.deep.equal(sizes)
    expect(renewed.flat()).to.deep.equal(pins)
    expect(warnings).to.have.length(1)
  })

  it('lets go of as many, in parts too', async () => {
    const { clock, keeper, keep, unpinned, idle } = keeperOf()
    for (const pin of keep(count)) keeper.letGo(pin)
    expect(keeper.takeLoose()).to.have.length(PINS_PER_CALL_MAX)
    await clock.advance(10)
    expect(unpinned.map(({ length }) => length)).to.deep.equal(sizes.slice(1))
    expect([keeper.size, idle()]).to.deep.equal([0, 1])
  })

  it('is not idle while pins may come, and is when none did', async () => {
    const { clock, keeper, keep, idle } = keeperOf()
    const asking = keeper.asking()
    for (const pin of keep(1)) keeper.letGo(pin)
    await clock.advance(10)
    expect(idle()).to.equal(0)
    asking[Symbol.dispose]()
    expect(idle()).to.equal(1)
  })
})
