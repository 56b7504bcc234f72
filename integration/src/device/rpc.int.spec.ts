import { expect } from 'chai'
import { runProgram } from '../support/programs.js'
import { inGuest, packetsSent, rdmaDevices, rdmaResources } from '../support/rdma-devices.js'

const OK = /^OK replayed 12 requests, \d+ blocks, hit ratio 0\.\d{4}, [1-9]\d* bytes verified, 0 mismatches$/
/** Of calls alone: the data plane is TCP. */
const PACKETS_MIN = 500

describe('a cluster whose calls go over RDMA', function () {
  this.timeout(240_000)
  before('needs the virtual machine: npm run test:rdma -- --vm', function () {
    if (!inGuest) this.skip()
  })

  it('replays: a master, two nodes and a driver, told by MC_RPC_PROTOCOL', async () => {
    const idle = rdmaResources()
    const sent = (): number => rdmaDevices().reduce((sum, device) => sum + packetsSent(device), 0)
    const before = sent()
    const args = ['replay', '--transport=tcp', '--requests=12', '--bytes-per-token=32', '--capacity=64MiB']
    const env = { MC_RPC_PROTOCOL: 'rdma' }
    const { code, stdout, stderr } = await runProgram('mooncake', args, { timeoutMs: 200_000, env })
    expect(code, stderr).to.equal(0)
    expect(stdout.toString().trimEnd().split('\n').at(-1)).to.match(OK)
    expect(sent() - before, 'packets').to.be.above(PACKETS_MIN)
    expect(stderr).not.to.include('goes on over its socket')
    expect(rdmaResources(), 'left in the kernel').to.deep.equal(idle)
  })
})
