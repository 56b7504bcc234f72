import { expect } from 'chai'
import fc from 'fast-check'
import {
  decodeDescriptor,
  decodeRequestHead,
  decodeResponseHead,
  DESCRIPTOR_BYTES,
  encodeDescriptor,
  encodeKey,
  encodeRequestHead,
  encodeResponseHead,
  FRAME_PAYLOAD_BYTES_MAX,
  KIND_READ,
  KIND_WRITE,
  REQUEST_HEAD_BYTES,
  RESPONSE_HEAD_BYTES,
} from '../dist/codec.js'
import { hasCode } from '@mooncake-ts/core'

const OPS_MAX = 64
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const uint53 = fc.maxSafeNat()

function failure(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

describe('codec', () => {
  it('gives back every request head', () => {
    const head = fc.record({
      sequence: uint32,
      opCount: fc.integer({ min: 1, max: OPS_MAX }),
      writeBytes: fc.integer({ min: 0, max: FRAME_PAYLOAD_BYTES_MAX }),
    })
    fc.assert(
      fc.property(head, fc.nat(16), (given, at) => {
        const view = new DataView(new ArrayBuffer(at + REQUEST_HEAD_BYTES))
        encodeRequestHead(view, at, given)
        expect(decodeRequestHead(view, at, OPS_MAX)).to.deep.equal(given)
      }),
    )
  })

  it('gives back every descriptor, with its key', () => {
    const descriptor = fc
      .record({
        kind: fc.constantFrom<typeof KIND_READ | typeof KIND_WRITE>(KIND_READ, KIND_WRITE),
        offset: uint53,
        operationBytes: uint53,
        byteLength: fc.nat(FRAME_PAYLOAD_BYTES_MAX),
      })
      .filter(({ operationBytes, byteLength }) => byteLength <= operationBytes)
    fc.assert(
      fc.property(
        descriptor,
        uint53,
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        (given, exposureId, token) => {
          const bytes = new Uint8Array(DESCRIPTOR_BYTES)
          const view = new DataView(bytes.buffer)
          bytes.set(encodeKey(exposureId, token))
          encodeDescriptor(view, 0, given)
          expect(decodeDescriptor(view, 0)).to.deep.equal({ exposureId, ...given })
          expect(bytes.subarray(8, 24)).to.deep.equal(token)
        },
      ),
    )
  })

  it('takes a response head only for the request that it answers', () => {
    fc.assert(
      fc.property(
        uint32,
        fc.integer({ min: 1, max: OPS_MAX }),
        fc.boolean(),
        (sequence, opCount, hasStatuses) => {
          const view = new DataView(new ArrayBuffer(RESPONSE_HEAD_BYTES))
          encodeResponseHead(view, 0, { sequence, opCount, hasStatuses })
          expect(decodeResponseHead(view, 0, { sequence, opCount })).to.deep.equal({
            sequence,
            opCount,
            hasStatuses,
          })
          const other = { sequence: (sequence + 1) >>> 0, opCount }
          expect(
            hasCode(
              failure(() => decodeResponseHead(view, 0, other)),
              'ERR_PROTOCOL',
            ),
          ).to.equal(true)
        },
      ),
    )
  })

  it('meets garbage with ERR_PROTOCOL and nothing else', () => {
    const length = DESCRIPTOR_BYTES
    fc.assert(
      fc.property(fc.uint8Array({ minLength: length, maxLength: length }), bytes => {
        const view = new DataView(bytes.buffer, bytes.byteOffset)
        const failures = [
          failure(() => decodeRequestHead(view, 0, OPS_MAX)),
          failure(() => decodeResponseHead(view, 0, { sequence: 0, opCount: 1 })),
          failure(() => decodeDescriptor(view, 0)),
        ]
        for (const error of failures)
          expect(error === undefined || hasCode(error, 'ERR_PROTOCOL')).to.equal(true)
      }),
    )
  })

  it('refuses heads beyond the limits', () => {
    const view = new DataView(new ArrayBuffer(REQUEST_HEAD_BYTES))
    for (const head of [
      { sequence: 0, opCount: 0, writeBytes: 0 },
      { sequence: 0, opCount: OPS_MAX + 1, writeBytes: 0 },
      { sequence: 0, opCount: 1, writeBytes: FRAME_PAYLOAD_BYTES_MAX + 1 },
      { sequence: 0, opCount: 1, writeBytes: Number.MAX_SAFE_INTEGER },
    ]) {
      encodeRequestHead(view, 0, head)
      expect(
        hasCode(
          failure(() => decodeRequestHead(view, 0, OPS_MAX)),
          'ERR_PROTOCOL',
        ),
      ).to.equal(true)
    }
  })

  it('reads a number beyond 2^53 as one that fits nowhere', () => {
    const bytes = new Uint8Array(DESCRIPTOR_BYTES)
    const view = new DataView(bytes.buffer)
    encodeDescriptor(view, 0, { kind: KIND_READ, offset: 0, operationBytes: 1, byteLength: 1 })
    bytes.fill(0xff, 24, 32)
    expect(decodeDescriptor(view, 0).offset).to.equal(Infinity)
  })
})
