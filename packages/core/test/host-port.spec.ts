import { networkInterfaces } from 'node:os'
import { expect } from 'chai'
import { formatHostPort, outwardHost, parseHostPort } from '@mooncake-ts/core'
import { failure } from './support.js'

describe('host and port', () => {
  for (const text of ['127.0.0.1:7000', 'node-1.example:0', '[::1]:65535', '[fe80::1%eth0]:1']) {
    it(`reads ${text}, and writes it as it was`, () => {
      expect(formatHostPort(parseHostPort(text))).to.equal(text)
    })
  }

  for (const text of [
    '',
    'host',
    'host:',
    ':7000',
    'host:65536',
    'host:7000x',
    '::1:7000',
    '[::1]',
    'a b:1',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, async () => {
      expect(await failure(() => parseHostPort(text))).to.include({ code: 'ERR_INVALID_PARAMS' })
    })
  }

  it('has peers dial an outer address where all are listened on, else the one that was given', () => {
    const known = Object.values(networkInterfaces()).flatMap(list =>
      (list ?? []).map(({ address }) => address),
    )
    expect(outwardHost('10.0.0.7')).to.equal('10.0.0.7')
    expect([...known, '127.0.0.1']).to.include(outwardHost('0.0.0.0'))
    expect([...known, '::1']).to.include(outwardHost('::'))
  })
})
