import { expect } from 'chai'
import {
  assertTransferOp,
  assertWindow,
  type Region,
  type TransferOp,
  type WindowKind,
} from '@mooncake-ts/core'
import { failure } from './support.js'

const windows: WindowKind = { scheme: 'pigeon', isKey: key => key.byteLength === 4 }
const region = { id: 1, byteLength: 100, closed: false } as unknown as Region
const window = { scheme: 'pigeon', endpoint: 'loft:1', key: new Uint8Array(4) }
const good: TransferOp = {
  kind: 'read',
  local: { region, offset: 10, byteLength: 90 },
  remote: { window, offset: 0, byteLength: 90 },
}

describe('assertTransferOp', () => {
  it('takes a read and a write inside of the local region', () => {
    assertTransferOp(good, windows)
    assertTransferOp({ ...good, kind: 'write' }, windows)
  })

  it('takes a write out of memory that is for reading only', () => {
    const local = { ...good.local, region: { ...region, readOnly: true } }
    assertTransferOp({ ...good, kind: 'write', local }, windows)
  })

  const wrong: Array<[string, TransferOp, string]> = [
    [
      'a closed region',
      { ...good, local: { ...good.local, region: { ...region, closed: true } } },
      'ERR_REGION_CLOSED',
    ],
    [
      'a local slice that leaves its region',
      { ...good, local: { ...good.local, offset: 11 } },
      'ERR_SLICE_OUT_OF_BOUNDS',
    ],
    [
      'a read into memory that is for reading only',
      { ...good, local: { ...good.local, region: { ...region, readOnly: true } } },
      'ERR_ACCESS_DENIED',
    ],
    ['two lengths', { ...good, remote: { ...good.remote, byteLength: 89 } }, 'ERR_INVALID_PARAMS'],
    [
      'a window of another scheme',
      { ...good, remote: { ...good.remote, window: { ...window, scheme: 'tcp' } } },
      'ERR_INVALID_PARAMS',
    ],
    [
      'a key of another kind',
      { ...good, remote: { ...good.remote, window: { ...window, key: new Uint8Array(5) } } },
      'ERR_INVALID_PARAMS',
    ],
    ['an offset before the window', { ...good, remote: { ...good.remote, offset: -1 } }, 'ERR_ACCESS_DENIED'],
    ['half an offset', { ...good, remote: { ...good.remote, offset: 0.5 } }, 'ERR_ACCESS_DENIED'],
  ]
  for (const [what, op, code] of wrong) {
    it(`refuses ${what}`, async () => {
      expect(await failure(() => assertTransferOp(op, windows))).to.include({ code })
    })
  }

  it('looks at a window alone where there is no operation', async () => {
    assertWindow(good.remote, windows)
    const stranger = { ...good.remote, window: { ...window, key: new Uint8Array(0) } }
    expect(await failure(() => assertWindow(stranger, windows))).to.include({ code: 'ERR_INVALID_PARAMS' })
  })
})
