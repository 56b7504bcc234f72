import { MooncakeError } from '@mooncake-ts/core'
import { expect } from 'chai'
import { checkValue, notBuilt, type Flag, type FlagValue } from '../dist/flags/spec.js'

const flag = (type: Flag['type'], rest: Partial<Flag> = {}): Flag => ({ name: 'x', type, help: '', ...rest })
const REFUSED = Symbol('refused')

function check(of: Flag, raw: unknown): FlagValue | typeof REFUSED {
  try {
    return checkValue(of, raw, '--x')
  } catch (error) {
    expect(error).to.be.an.instanceOf(MooncakeError).with.property('code', 'ERR_CONFIG')
    expect((error as Error).message).to.match(/^--x: /)
    return REFUSED
  }
}

describe('checkValue', () => {
  const CASES: ReadonlyArray<readonly [type: Flag['type'], raw: unknown, value: FlagValue | typeof REFUSED]> =
    [
      ['int', '12', 12],
      ['int', 12, 12],
      ['int', '-1', REFUSED],
      ['int', '1.5', REFUSED],
      ['int', '', REFUSED],
      ['int', ' ', REFUSED],
      ['int', true, REFUSED],
      ['int', null, REFUSED],
      ['int', '9007199254740993', REFUSED],
      ['ratio', '0.95', 0.95],
      ['ratio', 1, 1],
      ['ratio', '1.01', REFUSED],
      ['ratio', 'NaN', REFUSED],
      ['port', '65535', 65_535],
      ['port', '65536', REFUSED],
      ['bytes', '4GB', 4 * 2 ** 30],
      ['bytes', '512MiB', 512 * 2 ** 20],
      ['bytes', 1_048_576, 1_048_576],
      ['bytes', '1QB', REFUSED],
      ['bytes', -1, REFUSED],
      ['bytes', true, REFUSED],
      ['durationMs', '10s', 10_000],
      ['durationMs', '250', 250],
      ['durationMs', 'soon', REFUSED],
      ['bool', 'TRUE', true],
      ['bool', 'no', false],
      ['bool', false, false],
      ['bool', 2, REFUSED],
      ['string', 5, '5'],
      ['string', null, REFUSED],
      ['string', { a: [1] }, '{"a":[1]}'],
    ]
  for (const [type, raw, value] of CASES) {
    it(`${type}: ${JSON.stringify(raw)} is ${typeof value === 'symbol' ? 'refused' : JSON.stringify(value)}`, () => {
      expect(check(flag(type), raw)).to.equal(value)
    })
  }

  it('keeps to choices and to the least', () => {
    expect(check(flag('string', { choices: ['a', 'b'] }), 'b')).to.equal('b')
    expect(check(flag('string', { choices: ['a', 'b'] }), 'c')).to.equal(REFUSED)
    expect(check(flag('int', { min: 2 }), '1')).to.equal(REFUSED)
    expect(check(flag('int', { min: 2 }), '2')).to.equal(2)
  })

  it('refuses what is not built unless it asks for nothing, and says what to do instead', () => {
    expect(check(notBuilt('x', 'int', 0), '0')).to.equal(0)
    expect(check(notBuilt('x', 'int', 0), '1')).to.equal(REFUSED)
    expect(check(notBuilt('x', 'int'), '0')).to.equal(REFUSED)
    expect(() => checkValue(notBuilt('x', 'int', 0, 'Use --y.'), '1', '--x')).to.throw(
      'is not built yet. Use --y.',
    )
  })
})
