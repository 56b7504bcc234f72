import { bytesTests } from './bytes.js'
import { endsTests } from './ends.js'
import { TransportFixture, type TransportSetup } from './fixture.js'
import { refusalTests } from './refusals.js'

/**
 * Every promise that the Transport contract makes, as tests.
 * Only what a transport does not support is skipped.
 *
 * @example
 * transportCompliance('transport-tcp', { create: () => tcp({ listen: '127.0.0.1:0' }) })
 */
export function transportCompliance(name: string, setup: TransportSetup): void {
  describe(`${name} keeps the Transport contract`, () => {
    const fixture = new TransportFixture(setup)
    afterEach(() => fixture.close())

    describe('bytes', () => {
      bytesTests(fixture)
    })
    describe('refusals', () => {
      refusalTests(fixture)
    })
    describe('cold streams, abort, revoke and stop', () => {
      endsTests(fixture)
    })
  })
}
