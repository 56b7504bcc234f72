import { expect } from 'chai'
import type { ObjectIdentity, TierAllocation } from '@mooncake-ts/core'
import { randomBytes } from '../../helpers/random.js'
import type { TierFixture } from './fixture.js'

interface Recovered {
  readonly identity: ObjectIdentity
  readonly allocation: TierAllocation
}

/** Keys that a careless tier takes for a path, cuts off or mixes up. */
const KEYS = ['plain', '../../escape', '/', 'Ключ/🌓 \n\0', 'a%2Fb', 'a/b', 'A/B', 'k'.repeat(4096)]

export function persistenceTests(fixture: TierFixture): void {
  beforeEach(function () {
    if (!fixture.tier.supports.persistence) this.skip()
  })

  it('`persistence`: can commit and recover', () => {
    expect(fixture.tier.commit).to.be.a('function')
    expect(fixture.tier.recover).to.be.a('function')
  })

  it('`persistence`: recovers nothing from an empty place', async () => {
    expect(await recover(fixture)).to.deep.equal([])
    await fixture.restart()
    expect(await recover(fixture)).to.deep.equal([])
  })

  it('`persistence`: gives back after a restart exactly what was committed', async () => {
    const identities = KEYS.map((key, i) => identityOf(key, i === 1 ? 0 : 1000 + i))
    for (const identity of identities) await commit(fixture, identity)
    for (let life = 0; life < 2; life++) {
      await fixture.restart()
      const recovered = await recover(fixture)
      expect(recovered.map(({ identity }) => fieldsOf(identity)).sort(byKey)).to.deep.equal(
        identities.map(fieldsOf).sort(byKey),
      )
      for (const { identity, allocation } of recovered) {
        expect(allocation.byteLength).to.equal(identity.byteLength)
        await fixture.assertHolds(allocation, contentOf(identity))
      }
    }
  })

  it('`persistence`: what was written and not committed is gone, and takes no room', async () => {
    await fixture.put(randomBytes(5000, 30))
    await commit(fixture, identityOf('kept', 100))
    await fixture.put(randomBytes(5000, 31))
    await fixture.restart()
    expect((await recover(fixture)).map(({ identity }) => identity.key)).to.deep.equal(['kept'])
    expect(fixture.tier.usedBytes).to.be.within(100, fixture.tier.capacityBytes)
    const everything = fixture.tier.usedBytes
    await fixture.restart()
    await recover(fixture)
    expect(fixture.tier.usedBytes).to.equal(everything)
  })

  it('`persistence`: what was freed does not come back', async () => {
    const freed = await commit(fixture, identityOf('freed', 100))
    await commit(fixture, identityOf('kept', 100))
    await fixture.tier.free(freed)
    await fixture.restart()
    const [kept, ...others] = await recover(fixture)
    expect(others).to.deep.equal([])
    expect(kept!.identity.key).to.equal('kept')
    await fixture.tier.free(kept!.allocation)
    await fixture.restart()
    expect(await recover(fixture)).to.deep.equal([])
  })

  it('`persistence`: recovered objects keep their place from new ones', async () => {
    const identities = Array.from({ length: 10 }, (_, i) => identityOf(`key ${i}`, 3000 + i))
    for (const identity of identities) await commit(fixture, identity)
    await fixture.restart()
    const recovered = await recover(fixture)
    expect(fixture.tier.usedBytes).to.be.at.least(10 * 3000)
    for (let i = 0; i < 20; i++) await fixture.put(randomBytes(3000 + i, 40 + i))
    for (const { identity, allocation } of recovered)
      await fixture.assertHolds(allocation, contentOf(identity))
  })

  it('`persistence`: commits many at the same time', async () => {
    const identities = Array.from({ length: 50 }, (_, i) => identityOf(`key ${i}`, 1 + i))
    await Promise.all(identities.map(identity => commit(fixture, identity)))
    await fixture.restart()
    const recovered = await recover(fixture)
    expect(recovered).to.have.lengthOf(50)
    for (const { identity, allocation } of recovered)
      await fixture.assertHolds(allocation, contentOf(identity))
  })
}

/** The seed is in the identity, so that content can be checked without remembering it. */
function identityOf(key: string, byteLength: number): ObjectIdentity {
  const generation = 2 ** 52 + byteLength
  return byteLength % 2 === 0
    ? { key, generation, byteLength, checksum: 0xfedc_ba98 }
    : { key, generation, byteLength }
}

const contentOf = ({ byteLength, generation }: ObjectIdentity): Uint8Array =>
  randomBytes(byteLength, generation % 2 ** 32)

const fieldsOf = ({ key, generation, byteLength, checksum }: ObjectIdentity): ObjectIdentity => ({
  key,
  generation,
  byteLength,
  ...(checksum == null ? {} : { checksum }),
})

const byKey = (a: ObjectIdentity, b: ObjectIdentity): number => (a.key < b.key ? -1 : 1)

async function commit(fixture: TierFixture, identity: ObjectIdentity): Promise<TierAllocation> {
  const allocation = await fixture.put(contentOf(identity))
  await fixture.tier.commit!(allocation, identity)
  return allocation
}

async function recover({ tier }: TierFixture): Promise<Recovered[]> {
  const recovered: Recovered[] = []
  for await (const one of tier.recover!()) recovered.push(one)
  return recovered
}
