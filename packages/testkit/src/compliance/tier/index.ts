import { bytesTests } from './bytes.js'
import { endsTests } from './ends.js'
import { TierFixture, type TierSetup } from './fixture.js'
import { persistenceTests } from './persistence.js'
import { spaceTests } from './space.js'

/**
 * Every promise that the Tier contract makes, as tests. Only what a tier does not support is skipped.
 *
 * @example
 * tierCompliance('tier-dram', { create: () => dram({ capacityBytes: mib(64) }) })
 */
export function tierCompliance(name: string, setup: TierSetup): void {
  describe(`${name} keeps the Tier contract`, () => {
    const fixture = new TierFixture(setup)
    beforeEach(async () => fixture.open(await setup.create()))
    afterEach(() => fixture.close())

    describe('space', () => {
      spaceTests(fixture)
    })
    describe('bytes', () => {
      bytesTests(fixture)
    })
    describe('cold streams, abort and stop', () => {
      endsTests(fixture)
    })
    describe('commit and recover', () => {
      persistenceTests(fixture)
    })
  })
}
