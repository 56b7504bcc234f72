import { expect } from 'chai'
import { MIB, type RemoteWindow } from '@mooncake-ts/core'
import { bytesOf, cleanUp, codes, expose, operation, regionOf, run, startNode } from './support.js'

function spoiled(window: RemoteWindow): RemoteWindow {
  const key = Uint8Array.from(window.key)
  key[20]! ^= 1
  return { ...window, key }
}

/** The byte that each fourth consists of; undefined where it is not one. */
function fourths(bytes: Buffer): (number | undefined)[] {
  const length = bytes.byteLength / 4
  return [0, 1, 2, 3].map(i => {
    const fourth = bytes.subarray(i * length, (i + 1) * length)
    return fourth.equals(Buffer.alloc(length, fourth[0])) ? fourth[0] : undefined
  })
}

describe('refusals', function () {
  this.timeout(10_000)
  afterEach(cleanUp)

  /** Large and small, because they take different ways. */
  for (const byteLength of [1000, 6 * MIB]) {
    it(`come per operation, and leave the others alone: ${byteLength} bytes`, async () => {
      const [near, far] = [await startNode(), await startNode()]
      const [local, remote] = [regionOf(4 * byteLength), regionOf(4 * byteLength)]
      const open = expose(far.transport, remote).window
      const readOnly = expose(far.transport, remote, 'read').window
      const writeOnly = expose(far.transport, remote, 'write').window
      const gone = expose(far.transport, remote)
      await gone.revoke()
      bytesOf(local).fill(1)
      bytesOf(remote).fill(2)
      const size = remote.byteLength
      const batch = [
        operation('write', local, readOnly, { byteLength }),
        operation('write', local, spoiled(open), { byteLength }),
        operation('write', local, gone.window, { byteLength }),
        operation('write', local, open, { remote: size - byteLength + 1, byteLength }),
        operation('write', local, open, { remote: size, byteLength }),
        operation('write', local, open, { remote: Number.MAX_SAFE_INTEGER, byteLength }),
        operation('read', local, writeOnly, { byteLength }),
        operation('read', local, spoiled(open), { byteLength }),
        operation('read', local, gone.window, { byteLength }),
        operation('read', local, open, { remote: size - byteLength + 1, byteLength }),
        operation('write', local, writeOnly, { remote: byteLength, byteLength }),
        operation('read', local, readOnly, { local: byteLength, remote: 2 * byteLength, byteLength }),
      ]
      const ended = await run(near.transport, batch)
      expect(codes(ended)).to.deep.equal([...Array<string>(10).fill('ERR_ACCESS_DENIED'), 'OK', 'OK'])
      const quarter = (bytes: Buffer, i: number) =>
        new Set(bytes.subarray(i * byteLength, (i + 1) * byteLength))
      const fourths = [0, 1, 2, 3]
      expect(fourths.map(i => [...quarter(bytesOf(remote), i)])).to.deep.equal([[2], [1], [2], [2]])
      expect(fourths.map(i => [...quarter(bytesOf(local), i)])).to.deep.equal([[1], [2], [1], [1]])
    })
  }

  it('come before anything is posted for what cannot be', async () => {
    const { transport } = await startNode()
    const region = regionOf(4096)
    const closed = regionOf(4096)
    const { window } = expose(transport, region)
    closed.close()
    const good = operation('read', region, window, { byteLength: 10 })
    const completions = await run(transport, [
      { ...good, local: { ...good.local, byteLength: 11 } },
      operation('read', region, window, { local: 4090, byteLength: 10 }),
      operation('read', closed, window, { byteLength: 10 }),
      operation('read', region, window, { remote: -1, byteLength: 10 }),
      operation('read', region, { ...window, scheme: 'rdma' }, { byteLength: 10 }),
      operation('read', region, { ...window, key: new Uint8Array(3) }, { byteLength: 10 }),
      operation('read', region, { ...window, endpoint: 'nonsense' }, { byteLength: 10 }),
      good,
    ])
    expect(codes(completions)).to.deep.equal([
      'ERR_INVALID_PARAMS',
      'ERR_SLICE_OUT_OF_BOUNDS',
      'ERR_REGION_CLOSED',
      'ERR_ACCESS_DENIED',
      'ERR_INVALID_PARAMS',
      'ERR_INVALID_PARAMS',
      'ERR_INVALID_PARAMS',
      'OK',
    ])
  })

  it('revoke waits until no peer touches the range, and then none does', async () => {
    const [near, far] = [await startNode(), await startNode()]
    const [local, remote] = [regionOf(64 * MIB), regionOf(64 * MIB)]
    const exposure = expose(far.transport, remote)
    bytesOf(local).fill(1)
    const batch = Array.from({ length: 32 }, (_, i) =>
      operation('write', local, exposure.window, {
        local: i * 2 * MIB,
        remote: i * 2 * MIB,
        byteLength: 2 * MIB,
      }),
    )
    let revoked: Promise<void> | undefined
    const ended = await run(near.transport, batch, {
      onNext: () => {
        revoked ??= exposure.revoke().then(() => {
          bytesOf(remote).fill(3) // From here on the memory is the owner's alone.
        })
      },
    })
    await revoked
    expect(new Set(codes(ended))).to.deep.equal(new Set(['OK', 'ERR_ACCESS_DENIED']))
    expect(bytesOf(remote).equals(Buffer.alloc(remote.byteLength, 3))).to.equal(true)
  })

  it('a closed region is not reached any more', async () => {
    const [near, far] = [await startNode(), await startNode()]
    const [local, remote] = [regionOf(4096), regionOf(4096)]
    const { window } = expose(far.transport, remote)
    const batch = [operation('read', local, window, { byteLength: 10 })]
    expect(codes(await run(near.transport, batch))).to.deep.equal(['OK'])
    remote.close()
    expect(codes(await run(near.transport, batch))).to.deep.equal(['ERR_ACCESS_DENIED'])
  })
})
