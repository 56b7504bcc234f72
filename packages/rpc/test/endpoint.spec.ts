import { networkInterfaces } from 'node:os'
import { expect } from 'chai'
import { rpc } from '@mooncake-ts/rpc'
import { advertisedHost, formatEndpoint, parseEndpoint } from '../dist/endpoint.js'
import { failure } from './support.js'

describe('endpoints', () => {
  for (const text of ['127.0.0.1:80', 'node-1.example:0', '[::1]:65535', 'unix:/run/a b.sock']) {
    it(`read and write ${text}`, () => {
      expect(formatEndpoint(parseEndpoint(text))).to.equal(text)
    })
  }

  for (const text of ['', '80', 'host', 'host:', ':80', 'host:65536', 'host:1x', '::1:80', 'unix:']) {
    it(`refuse '${text}'`, async () => {
      expect(await failure(() => parseEndpoint(text))).to.include({ code: 'ERR_INVALID_PARAMS' })
    })
  }

  it('advertise something that can be connected to', () => {
    const outward = Object.values(networkInterfaces())
      .flatMap(list => list ?? [])
      .filter(address => !address.internal)
      .map(address => address.address)
    expect(advertisedHost('127.0.0.1', 'example')).to.equal('127.0.0.1')
    expect(advertisedHost('0.0.0.0', 'example')).to.equal('example')
    expect(advertisedHost('10.0.0.7', undefined)).to.equal('10.0.0.7')
    expect([...outward, '127.0.0.1']).to.include(advertisedHost('0.0.0.0', undefined))
    expect([...outward, '127.0.0.1']).to.include(advertisedHost('::', undefined))
  })
})

describe('options', () => {
  for (const [options, path] of [
    [{ connectionsPerPeer: 0 }, 'connectionsPerPeer'],
    [{ frameBytesMax: 1.5 }, 'frameBytesMax'],
    [{ listen: ['nowhere'] }, 'nowhere'],
    [{ backoffMinMs: 2, backoffMaxMs: 1 }, 'backoffMinMs'],
  ] as const) {
    it(`are checked where they are typed: ${JSON.stringify(options)}`, async () => {
      const error = await failure(() => rpc(options))
      expect(error.code).to.equal('ERR_INVALID_PARAMS')
      expect(error.message).to.contain(path)
    })
  }
})
