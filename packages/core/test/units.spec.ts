import { expect } from 'chai'
import fc from 'fast-check'
import { formatBytes, gib, kib, mib, parseBytes, parseDurationMs, tib } from '@mooncake-ts/core'

describe('units', () => {
  it('multiplies', () => {
    expect([kib(2), mib(1), gib(3), tib(1)]).to.deep.equal([2048, 1_048_576, 3 * 2 ** 30, 2 ** 40])
  })
})

describe('parseBytes', () => {
  const good: Array<[number | string, number]> = [
    [0, 0],
    [4096, 4096],
    ['4096', 4096],
    ['64 MiB', 64 * 2 ** 20],
    ['16GB', 16 * 2 ** 30],
    ['16gb', 16 * 2 ** 30],
    ['1.5k', 1536],
    [' 2 TiB ', 2 * 2 ** 40],
    ['7b', 7],
  ]
  for (const [given, bytes] of good) {
    it(`reads ${JSON.stringify(given)}`, () => expect(parseBytes(given)).to.equal(bytes))
  }

  const bad = [
    '',
    ' ',
    'GB',
    '1 XB',
    '1.5',
    '-1',
    '1e9',
    '0x10',
    '1,000',
    '5 constructor',
    '999999TiB',
    '1 GB more',
  ]
  for (const given of [...bad, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    it(`refuses ${typeof given === 'string' ? JSON.stringify(given) : given}`, () =>
      expect(parseBytes(given)).to.equal(undefined))
  }

  it('reads every whole number of bytes that it can hold', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        bytes => parseBytes(String(bytes)) === bytes && parseBytes(bytes) === bytes,
      ),
    )
  })
})

describe('parseDurationMs', () => {
  it('reads numbers, milliseconds, seconds, minutes and hours', () => {
    expect(['10', '10ms', '10s', '1.5 m', '2H', 250].map(given => parseDurationMs(given))).to.deep.equal([
      10, 10, 10_000, 90_000, 7_200_000, 250,
    ])
  })

  it('refuses everything else', () => {
    for (const given of ['', 's', '1d', '-1s', 'ten', -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(parseDurationMs(given), String(given)).to.equal(undefined)
    }
  })
})

describe('formatBytes', () => {
  it('is short, and says the unit', () => {
    expect([0, 1023, 1024, 12.3 * 2 ** 30, 100 * 2 ** 20, 5000 * 2 ** 40].map(formatBytes)).to.deep.equal([
      '0 B',
      '1023 B',
      '1.00 KiB',
      '12.3 GiB',
      '100.0 MiB',
      '5000.0 TiB',
    ])
  })

  it('gives what parseBytes reads again, nearly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), bytes => {
        const [number, unit] = formatBytes(bytes).split(' ')
        return Math.abs(Number(number) * parseBytes(`1${unit}`)! - bytes) <= bytes * 0.006
      }),
    )
  })
})
