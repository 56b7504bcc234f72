import { expect } from 'chai'
import { LOGGER, TRANSPORT, value, type Logger } from '@mooncake-ts/core'
import { createRegion, memory } from '@mooncake-ts/memory'
import { collect, failureOf, testHost } from '@mooncake-ts/testkit'
import { rdma } from '@mooncake-ts/transport-rdma'
import { findDevices } from '../dist/devices.js'
import { native } from '../dist/native.js'

/** What `probe` says on machines that this one is not. */
function pretend(found: { problem?: string; errno?: number; devices?: string[] }): void {
  const addon = native() as { probe: unknown }
  addon.probe = () => ({ problem: '', errno: 0, devices: [], ...found })
}

describe('where there is no RDMA', () => {
  let probe: unknown
  before(function () {
    try {
      probe = native().probe
    } catch {
      this.skip() // No headers to build it with: the sentence of ERR_NATIVE_MISSING says so.
    }
  })
  afterEach(() => {
    ;(native() as { probe: unknown }).probe = probe
  })

  it('asks the real machine without failing', () => {
    const { problem, errno, devices } = native().probe()
    expect([typeof problem, typeof errno, Array.isArray(devices)]).to.deep.equal(['string', 'number', true])
  })

  const cases = [
    [{ problem: 'libibverbs.so.1: cannot open shared object file' }, undefined, /libibverbs1/],
    [{ errno: 38 }, undefined, /kernel has no RDMA/],
    [{}, undefined, /no RDMA device/],
    [{}, ['mlx5_0'], /No RDMA device mlx5_0: there is none/],
    [{ devices: ['rxe0'] }, ['rxe0', 'rxe1'], /No RDMA device rxe1: there are rxe0/],
  ] as const
  for (const [found, wanted, sentence] of cases) {
    it(`says what is missing: ${String(sentence)}`, async () => {
      pretend({ ...found, devices: 'devices' in found ? [...found.devices] : [] })
      expect(((await failureOf(() => findDevices(wanted))) as Error).message).to.match(sentence)
    })
  }

  it('takes the devices that were asked for, or the first eight', () => {
    const devices = Array.from({ length: 10 }, (_, i) => `mlx5_${i}`)
    pretend({ devices })
    expect(findDevices(['mlx5_9', 'mlx5_1'])).to.deep.equal(['mlx5_9', 'mlx5_1'])
    expect(findDevices(undefined)).to.deep.equal(devices.slice(0, 8))
  })

  it('fails the start with that', async () => {
    pretend({ errno: 38 })
    const failure = (await failureOf(testHost([rdma()]))) as Error
    expect(failure).to.have.property('code', 'ERR_PLUGIN_START')
    expect(failure.cause).to.have.property('code', 'ERR_NOT_SUPPORTED')
  })

  it('goes on as a transport that reaches nobody, where it is optional', async () => {
    pretend({ errno: 38 })
    const warnings: string[] = []
    const silent = (): void => {}
    const warn = (message: string): void => {
      warnings.push(message)
    }
    const logger: Logger = { debug: silent, info: silent, warn, error: warn, child: () => logger }
    const host = await testHost([value(LOGGER, logger), memory(), rdma({ optional: true })])
    const transport = host.get(TRANSPORT)
    const region = createRegion({ byteLength: 4096 })
    try {
      expect(warnings.join()).to.match(/Going on without RDMA: .*kernel/)
      const { window, revoke } = transport.expose(region, { offset: 0, byteLength: 4096, access: 'read' })
      expect(transport.reaches(window)).to.equal(false)
      const local = { region, offset: 0, byteLength: 1 }
      const remote = { window, offset: 0, byteLength: 1 }
      const { signal } = new AbortController()
      const [completion] = await collect(transport.execute([{ kind: 'read', local, remote }], { signal }))
      expect(completion?.error).to.have.property('code', 'ERR_TRANSFER_FAIL')
      await revoke()
    } finally {
      region.close()
      await host.stop()
    }
  })
})
