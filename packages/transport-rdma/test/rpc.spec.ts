import { expect } from 'chai'
import { kib, noMetrics, silentLogger } from '@mooncake-ts/core'
import { failureOf } from '@mooncake-ts/testkit'
import { rpcOverRdma } from '@mooncake-ts/transport-rdma'
import { commonBits, RdmaCarrier } from '../dist/rpc/carrier.js'
import { resolveRpcOptions } from '../dist/rpc/options.js'

const deps = { logger: silentLogger, metrics: noMetrics }

describe('options of RPC over RDMA', () => {
  it('have defaults, and a place in the completion queue for every work request', () => {
    const { slots, slotBytes, sendBytes, device } = resolveRpcOptions({ streamsMax: 10, mtu: 1024 })
    expect({ slots, slotBytes, sendBytes }).to.deep.equal({
      slots: 32,
      slotBytes: kib(16),
      sendBytes: kib(256),
    })
    expect(device).to.include({ completionsMax: 10 * 2 * 35, mtu: 1024 })
  })

  for (const options of [
    { slots: 1 },
    { slotBytes: 100 },
    { sendBytes: 1.5 },
    { streamsMax: 0 },
    { mtu: 9000 },
  ]) {
    it(`refuse ${JSON.stringify(options)}`, async () => {
      const [name] = Object.keys(options)
      const error = await failureOf((async () => rpcOverRdma(options))())
      expect(error).to.include({ code: 'ERR_INVALID_PARAMS' })
      expect((error as Error).message).to.include(`rdma.${name}`)
    })
  }
})

describe('RPC over RDMA, without a device', () => {
  const deviceNames = ['no-such-device']

  it('does not start, and says what is missing', async () => {
    const error = await failureOf(new RdmaCarrier({ deviceNames }, deps).start())
    expect(error).to.have.property('code').that.is.oneOf(['ERR_NATIVE_MISSING', 'ERR_NOT_SUPPORTED'])
  })

  it('starts where that is allowed, and carries nothing', async () => {
    const carrier = new RdmaCarrier({ deviceNames, optional: true }, deps)
    await carrier.start()
    expect(carrier.ready).to.equal(false)
    expect(await failureOf(carrier.prepare())).to.include({ code: 'ERR_RPC_FAIL' })
    await carrier.stop()
  })
})

describe('addresses of devices', () => {
  it('are as close as the bits that they begin with alike', () => {
    const address = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes)
    expect(commonBits(address(1, 2, 3), address(1, 2, 3))).to.equal(24)
    expect(commonBits(address(1, 2, 3), address(1, 3, 3))).to.equal(15)
    expect(commonBits(address(0x80, 0), address(0, 0))).to.equal(0)
    expect(commonBits(address(1, 2), address(1))).to.equal(14)
  })
})
