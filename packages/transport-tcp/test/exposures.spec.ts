import { expect } from 'chai'
import fc from 'fast-check'
import { systemClock, type Access, type Exposure, type Region } from '@mooncake-ts/core'
import { decodeDescriptor, encodeDescriptor, KIND_READ, KIND_WRITE } from '../dist/codec.js'
import { Exposures, type ExposedRange } from '../dist/exposures.js'
import { Slots } from '../dist/slots.js'
import { codeOf } from './support.js'

/** A Region without memory: what is tested here looks at numbers only. */
function fakeRegion(byteLength: number): Region & { readonly listeners: (() => void)[] } {
  const listeners: (() => void)[] = []
  let closed = false
  return {
    id: 1,
    kind: 'host',
    handle: undefined,
    byteLength,
    listeners,
    get closed() {
      return closed
    },
    view: () => new Uint8Array(),
    onClose: listener => {
      listeners.push(listener)
    },
    close: () => {
      closed = true
      for (const listener of listeners) listener()
    },
  }
}

class FakeEngine {
  readonly attached = new Set<number>()
  #next = 0

  attach(): number {
    this.attached.add(this.#next)
    return this.#next++
  }

  detach(slot: number): void {
    expect(this.attached.delete(slot)).to.equal(true)
  }
}

const ENDPOINT = '127.0.0.1:1'
const MIB = 1024 * 1024

function ask(
  exposures: Exposures,
  { window }: Exposure,
  what: { kind?: 1 | 2; offset?: number; operationBytes?: number; spoil?: number } = {},
): ExposedRange | undefined {
  const { kind = KIND_READ, offset = 0, operationBytes = 1, spoil } = what
  const bytes = new Uint8Array(48)
  bytes.set(window.key)
  if (spoil != null) bytes[spoil]! ^= 1
  const view = new DataView(bytes.buffer)
  encodeDescriptor(view, 0, { kind, offset, operationBytes, byteLength: 0 })
  return exposures.authorize(decodeDescriptor(view, 0), view, 8)
}

describe('Exposures', () => {
  let engine: FakeEngine
  let exposures: Exposures
  beforeEach(() => {
    engine = new FakeEngine()
    exposures = new Exposures(new Slots(engine), systemClock, 60_000)
  })

  it('allows exactly the ranges that lie inside', () => {
    const exposure = exposures.expose(
      fakeRegion(MIB),
      { offset: 1000, byteLength: 5000, access: 'read' },
      ENDPOINT,
    )
    const number = fc.oneof(fc.nat(6000), fc.constantFrom(4999, 5000, 5001, Number.MAX_SAFE_INTEGER))
    fc.assert(
      fc.property(number, number, (offset, operationBytes) => {
        const inside = BigInt(offset) + BigInt(operationBytes) <= 5000n
        expect(ask(exposures, exposure, { offset, operationBytes }) != null).to.equal(inside)
      }),
    )
  })

  it('allows the directions of its access', () => {
    const region = fakeRegion(MIB)
    const allowed: Record<Access, boolean[]> = {
      read: [true, false],
      write: [false, true],
      readwrite: [true, true],
    }
    for (const access of ['read', 'write', 'readwrite'] as const) {
      const exposure = exposures.expose(region, { offset: 0, byteLength: 10, access }, ENDPOINT)
      const answers = [KIND_READ, KIND_WRITE].map(
        kind => ask(exposures, exposure, { kind: kind as 1 | 2 }) != null,
      )
      expect(answers).to.deep.equal(allowed[access])
    }
  })

  it('refuses a key with any bit of id or token changed', () => {
    const exposure = exposures.expose(
      fakeRegion(MIB),
      { offset: 0, byteLength: 10, access: 'read' },
      ENDPOINT,
    )
    for (let spoil = 0; spoil < 24; spoil++) expect(ask(exposures, exposure, { spoil })).to.equal(undefined)
    expect(ask(exposures, exposure)).to.not.equal(undefined)
  })

  it('settles a revoke when the last operation has let go, and refuses from the start of it', async () => {
    const exposure = exposures.expose(
      fakeRegion(MIB),
      { offset: 0, byteLength: 10, access: 'read' },
      ENDPOINT,
    )
    const first = ask(exposures, exposure)!
    const second = ask(exposures, exposure)!
    let settled = false
    const revoked = exposure.revoke().then(() => {
      settled = true
    })
    expect(ask(exposures, exposure)).to.equal(undefined)
    first.release()
    await new Promise(resolve => setImmediate(resolve))
    expect(settled).to.equal(false)
    second.release()
    await revoked
    await exposure.revoke()
  })

  it('is revoked with its region, whose slot is detached at rest', async () => {
    const region = fakeRegion(MIB)
    const exposure = exposures.expose(region, { offset: 0, byteLength: 10, access: 'read' }, ENDPOINT)
    const held = ask(exposures, exposure)!
    region.close()
    expect(ask(exposures, exposure)).to.equal(undefined)
    await new Promise(resolve => setImmediate(resolve))
    expect(engine.attached.size).to.equal(1)
    held.release()
    await exposure.revoke()
    expect(engine.attached.size).to.equal(0)
  })

  it('listens once to a region, however often it is exposed', async () => {
    const region = fakeRegion(MIB)
    for (let i = 0; i < 100; i++) {
      await exposures.expose(region, { offset: i, byteLength: 1, access: 'read' }, ENDPOINT).revoke()
    }
    expect(region.listeners).to.have.length(1)
    expect(engine.attached.size).to.equal(1)
  })

  it('refuses to expose what is not inside the region, or a closed one', () => {
    const region = fakeRegion(100)
    const attempt = (offset: number, byteLength: number) =>
      codeOf(() => exposures.expose(region, { offset, byteLength, access: 'read' }, ENDPOINT))
    for (const [offset, byteLength] of [
      [0, 101],
      [101, 0],
      [-1, 1],
      [0.5, 1],
      [0, NaN],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ] as const) {
      expect(attempt(offset, byteLength)).to.equal('ERR_SLICE_OUT_OF_BOUNDS')
    }
    region.close()
    expect(attempt(0, 1)).to.equal('ERR_REGION_CLOSED')
  })
})
