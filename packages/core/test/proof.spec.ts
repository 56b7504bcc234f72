import { createHmac } from 'node:crypto'
import { expect } from 'chai'
import {
  assertMayBind,
  createNonce,
  isLoopback,
  NONCE_BYTES,
  PROOF_BYTES,
  proveSecret,
  verifyProof,
  type Challenge,
  type Security,
} from '@mooncake-ts/core'
import { failure } from './support.js'

const security: Security = { secret: 'hush', allowInsecure: false }
const challenge: Challenge = { protocol: 'rpc/1', clientNonce: createNonce(), serverNonce: createNonce() }
const proof = proveSecret(security, 'client', challenge)

describe('proof of the cluster secret', () => {
  it('is accepted by an end with the same secret, for the same role and challenge', () => {
    expect(proof.byteLength).to.equal(PROOF_BYTES)
    expect(verifyProof({ secret: 'hush', allowInsecure: true }, 'client', { ...challenge }, proof)).to.equal(
      true,
    )
  })

  it('stays what it is on the wire: HMAC-SHA-256 over protocol, role and both nonces', () => {
    const expected = createHmac('sha256', 'hush')
      .update('\x05rpc/1C')
      .update(challenge.clientNonce)
      .update(challenge.serverNonce)
      .digest()
    expect(Buffer.compare(proof, expected)).to.equal(0)
  })

  const wrong: Array<[string, Security, 'client' | 'server', Challenge]> = [
    ['another secret', { ...security, secret: 'hushed' }, 'client', challenge],
    ['no secret', { allowInsecure: true }, 'client', challenge],
    ['the other role: it cannot be sent back to us', security, 'server', challenge],
    ['another protocol', security, 'client', { ...challenge, protocol: 'data/1' }],
    ['another client nonce', security, 'client', { ...challenge, clientNonce: createNonce() }],
    ['another server nonce', security, 'client', { ...challenge, serverNonce: createNonce() }],
    [
      'swapped nonces',
      security,
      'client',
      { ...challenge, clientNonce: challenge.serverNonce, serverNonce: challenge.clientNonce },
    ],
  ]
  for (const [what, who, role, asked] of wrong) {
    it(`is refused with ${what}`, () => expect(verifyProof(who, role, asked, proof)).to.equal(false))
  }

  it('is refused when it is cut, longer, empty or changed by one bit', () => {
    const flipped = Uint8Array.from(proof)
    flipped[31]! ^= 1
    const longer = Buffer.concat([proof, Buffer.of(0)])
    for (const other of [proof.subarray(0, 31), longer, new Uint8Array(0), flipped]) {
      expect(verifyProof(security, 'client', challenge, other)).to.equal(false)
    }
  })

  it('passes between two ends without a secret', () => {
    const open: Security = { allowInsecure: true }
    expect(verifyProof(open, 'server', challenge, proveSecret(open, 'server', challenge))).to.equal(true)
  })

  it('uses a fresh nonce each time', () => {
    expect(createNonce().byteLength).to.equal(NONCE_BYTES)
    expect(Buffer.compare(createNonce(), createNonce())).to.not.equal(0)
  })
})

describe('where a listener may bind', () => {
  it('knows what never leaves the machine', () => {
    for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', 'unix:/run/a.sock', '/run/a.sock']) {
      expect(isLoopback(host), host).to.equal(true)
    }
    for (const host of [
      '0.0.0.0',
      '::',
      '10.0.0.1',
      '127.0.0.1.example.org',
      'example.org',
      '1127.0.0.1',
      '',
    ]) {
      expect(isLoopback(host), host).to.equal(false)
    }
  })

  it('refuses wide addresses without a secret, and says what to do', async () => {
    const error = await failure(() => assertMayBind({ allowInsecure: false }, '0.0.0.0'))
    expect(error.code).to.equal('ERR_INSECURE_BIND')
    expect(error.message).to.include('0.0.0.0').and.include('--allow_insecure')
  })

  it('allows loopback to all, and wide addresses with a secret or on request', () => {
    assertMayBind({ allowInsecure: false }, '127.0.0.1')
    assertMayBind({ allowInsecure: false, secret: 's' }, '0.0.0.0')
    assertMayBind({ allowInsecure: true }, '0.0.0.0')
  })
})
