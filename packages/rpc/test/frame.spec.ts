import { expect } from 'chai'
import fc from 'fast-check'
import { decodeBody, encodeEmptyFrame, encodeFrame } from '../dist/wire/codec.js'
import type { Attachment } from '../dist/wire/attachment.js'
import { FrameReader, HEADER_BYTES, LONG_HEADER_BYTES, writeHeader } from '../dist/wire/frame.js'
import { failure } from './support.js'

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
const message = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  id: uint32,
  deadlineMs: uint32,
  body: fc.uint8Array({ maxLength: 300 }),
  attached: fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 }), { nil: undefined }),
})

function frameOf({
  kind,
  id,
  deadlineMs,
  body,
  attached,
}: {
  kind: number
  id: number
  deadlineMs: number
  body: Uint8Array
  attached: Uint8Array | undefined
}): Buffer {
  const headerBytes = attached == null ? HEADER_BYTES : LONG_HEADER_BYTES
  const frame = Buffer.concat([Buffer.alloc(headerBytes), body])
  writeHeader(frame, kind, id, deadlineMs, attached?.byteLength)
  return Buffer.concat([frame, attached ?? Buffer.alloc(0)])
}

function emptyOf(attachment: Attachment | undefined): Uint8Array | undefined {
  return attachment == null ? undefined : new Uint8Array(0)
}

function appendTo(entry: { attached: Uint8Array | undefined }): (bytes: Uint8Array) => void {
  return bytes => {
    entry.attached = new Uint8Array(Buffer.concat([entry.attached!, bytes]))
  }
}

describe('frames', () => {
  for (const borrowed of [false, true]) {
    const kept = borrowed ? 'from memory that is used again' : 'from memory of their own'
    it(`come out as they went in, with what is attached, wherever the stream was cut, ${kept}`, () => {
      fc.assert(
        fc.property(
          fc.array(message, { maxLength: 10 }),
          fc.array(fc.nat(), { maxLength: 30 }),
          (messages, cuts) => {
            const stream = Buffer.concat(messages.map(frameOf))
            const at = cuts.map(cut => cut % (stream.length + 1)).sort((one, other) => one - other)
            const reader = new FrameReader(600, { borrowed })
            const seen: Array<{ attached: Uint8Array | undefined }> = []
            for (const [index, from] of [0, ...at].entries()) {
              const chunk = Buffer.from(stream.subarray(from, at[index]))
              reader.push(chunk, ({ attachment, ...frame }) => {
                const entry = { ...frame, body: new Uint8Array(frame.body), attached: emptyOf(attachment) }
                seen.push(entry)
                attachment?.take(appendTo(entry), () => {})
                return true
              })
              if (borrowed) chunk.fill(0)
            }
            expect(seen).to.deep.equal(messages)
            expect(reader.pending).to.equal(false)
          },
        ),
      )
    })
  }

  it('are judged by their header, before a byte of the body has come', async () => {
    const header = Buffer.alloc(HEADER_BYTES)
    writeHeader(header, 3, 1, 0)
    header.writeUInt32BE(1001, 8)
    const error = await failure(() => {
      new FrameReader(1000).push(header, () => true)
    })
    expect(error).to.include({ code: 'ERR_PROTOCOL' })
    expect(error.message).to.contain('1001 bytes').and.to.contain('1000')
  })

  it('are judged together with what is attached to them', async () => {
    const header = Buffer.alloc(LONG_HEADER_BYTES + 500)
    writeHeader(header, 3, 1, 0, 501)
    const error = await failure(() => {
      new FrameReader(1000).push(header.subarray(0, LONG_HEADER_BYTES), () => true)
    })
    expect(error).to.include({ code: 'ERR_PROTOCOL' })
    expect(error.message).to.contain('1001 bytes')
  })

  for (const [what, at] of [
    ['magic', 0],
    ['layout', 1],
  ] as const) {
    it(`of another ${what} are refused`, async () => {
      const frame = encodeEmptyFrame(8, 0)
      frame[at]!++
      expect(
        await failure(() => {
          new FrameReader(1000).push(frame, () => true)
        }),
      ).to.include({ code: 'ERR_PROTOCOL' })
    })
  }

  it('after the one that ended the connection are not read', () => {
    const seen: number[] = []
    new FrameReader(1000).push(Buffer.concat([encodeEmptyFrame(8, 1), encodeEmptyFrame(8, 2)]), frame => {
      seen.push(frame.id)
      return false
    })
    expect(seen).to.deep.equal([1])
  })
})

describe('bodies', () => {
  const roundTrip = (value: unknown): unknown =>
    decodeBody(encodeFrame(3, 1, 0, value).subarray(HEADER_BYTES))

  it('keep plain data as it is', () => {
    const key = fc.string().filter(text => text !== '__proto__')
    const plain = fc.letrec(tie => ({
      value: fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.boolean(),
        fc.constant(null),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true }).filter(number => !Object.is(number, -0)),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    })).value
    fc.assert(
      fc.property(plain, value => {
        expect(roundTrip(value)).to.deep.equal(value)
      }),
    )
  })

  it('keep bytes as bytes, in memory of their own', () => {
    const frame = encodeFrame(3, 1, 0, { bytes: new Uint8Array([1, 2, 3]) })
    const { bytes } = decodeBody(frame.subarray(HEADER_BYTES)) as { bytes: Uint8Array }
    expect(bytes).to.be.instanceOf(Uint8Array)
    expect([...bytes]).to.deep.equal([1, 2, 3])
    frame.fill(0)
    expect([...bytes]).to.deep.equal([1, 2, 3])
  })

  it('keep whole numbers up to 2^53, as numbers', () => {
    for (const number of [2 ** 31, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      expect(roundTrip({ number })).to.deep.equal({ number })
    }
    expect(roundTrip(2n ** 40n)).to.equal(2 ** 40)
  })

  it('omit fields that are undefined', () => {
    expect(Object.keys(roundTrip({ a: 1, b: undefined }) as object)).to.deep.equal(['a'])
  })

  it('cannot reach a prototype', () => {
    const hostile = Buffer.concat([
      Buffer.from([0x81, 0xa9]),
      Buffer.from('__proto__'),
      Buffer.from([0x81, 0xa1, 0x78, 1]),
    ])
    expect((decodeBody(hostile) as { x?: unknown }).x).to.equal(undefined)
    expect(({} as { x?: unknown }).x).to.equal(undefined)
  })

  it('that are not msgpack are refused, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        try {
          decodeBody(Buffer.from(bytes))
        } catch (error) {
          expect(error).to.include({ code: 'ERR_PROTOCOL' })
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('nested too deeply are refused', async () => {
    expect(await failure(() => decodeBody(Buffer.alloc(2 ** 20, 0x91)))).to.include({ code: 'ERR_PROTOCOL' })
  })

  it('that msgpack cannot hold are refused, and the next is not harmed', async () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    expect(await failure(() => encodeFrame(3, 1, 0, circle))).to.include({ code: 'ERR_INVALID_PARAMS' })
    expect(roundTrip({ a: 1 })).to.deep.equal({ a: 1 })
  })
})
