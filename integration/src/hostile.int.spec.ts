import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Host, MEMORY, SECURITY, TRANSPORT, value, type RemoteWindow } from '@mooncake-ts/core'
import { memory } from '@mooncake-ts/memory'
import { collect, rejectsWith, until } from '@mooncake-ts/testkit'
import { tcp } from '@mooncake-ts/transport-tcp'
import { expect } from 'chai'
import { Cluster, type DataNode } from './support/cluster.js'
import { runProgram, type Run } from './support/programs.js'
import { valueOf } from './support/values.js'

const SECRET = 'correct horse'

describe('hostile peers', function () {
  this.timeout(60_000)
  let cluster: Cluster
  let node: DataNode

  before(async () => {
    cluster = await Cluster.start({ secret: SECRET })
    node = await cluster.startNode('node-0')
  })
  after(async () => {
    await cluster[Symbol.asyncDispose]()
  })
  afterEach('the servers live, and serve', async () => {
    const store = await cluster.connect(`check-${performance.now()}`)
    await store.upsert('check', valueOf('check', 100_000))
    expect(valueOf('check', 100_000).equals((await store.get('check'))!)).to.equal(true)
    expect([cluster.master.running, node.server.running]).to.deep.equal([true, true])
  })

  const mooncake = (secret: string | undefined): Promise<Run> =>
    runProgram('mooncake', ['ls'], {
      env: {
        MOONCAKE_MASTER: cluster.masterEndpoint,
        ...(secret == null ? {} : { MOONCAKE_CLUSTER_SECRET: secret }),
      },
    })

  /** Settles when the server has closed the connection, within its time for handshakes. */
  async function sendGarbage(port: number, bytes: Uint8Array): Promise<void> {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    try {
      await once(socket, 'connect')
      socket.resume().write(bytes)
      await once(socket, 'close', { signal: AbortSignal.timeout(10_000) })
    } finally {
      socket.destroy()
    }
  }

  const PORTS: ReadonlyArray<readonly [what: string, server: string, port: () => number]> = [
    ['the master', 'master', () => cluster.masterPort],
    ['the RPC port of a node', 'node-0', () => node.rpcPort],
    ['the data port of a node', 'node-0', () => node.dataPort],
  ]
  for (const [what, server, port] of PORTS) {
    it(`send garbage to ${what}: closed, with a logged code`, async () => {
      const before = cluster.log(server).length
      await sendGarbage(port(), randomBytes(64 * 1024))
      await sendGarbage(port(), Buffer.alloc(4096, 0xff)) // Lengths as large as they get.
      await sendGarbage(port(), Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'))
      const logged = (): string => cluster.log(server).slice(before)
      await until(() => logged().includes('ERR_PROTOCOL') || logged().includes('ERR_UNAUTHENTICATED'))
    })
  }

  it('know another secret, or none: refused at the RPC plane with a sentence', async () => {
    const [right, wrong, none] = await Promise.all([
      mooncake(SECRET),
      mooncake('battery staple'),
      mooncake(undefined),
    ])
    expect([right.code, right.stderr]).to.deep.equal([0, ''])
    for (const run of [wrong, none]) {
      expect(run.code).to.equal(1)
      expect(run.stderr).to.match(/^mooncake: [^\n]*\(ERR_UNAUTHENTICATED\)\n$/)
    }
    const error = await rejectsWith(cluster.connect('intruder', {}, 'battery staple'), 'ERR_PLUGIN_START')
    expect(error.cause).to.have.property('code', 'ERR_UNAUTHENTICATED')
    await until(() => cluster.log('master').includes('ERR_UNAUTHENTICATED'))
  })

  it('know another secret, or none: refused at the data plane', async () => {
    const window: RemoteWindow = {
      scheme: 'tcp',
      endpoint: `127.0.0.1:${node.dataPort}`,
      key: randomBytes(24),
    }
    for (const secret of ['battery staple', undefined]) {
      const security = { allowInsecure: false, ...(secret == null ? {} : { secret }) }
      await using host = await new Host([value(SECURITY, security), memory(), tcp()]).start()
      const region = host.get(MEMORY).createRegion({ byteLength: 4096 })
      region.view(0, 4096).fill(7)
      const local = { region, offset: 0, byteLength: 4096 }
      const stream = host
        .get(TRANSPORT)
        .execute([{ kind: 'read', local, remote: { window, offset: 0, byteLength: 4096 } }], {
          signal: AbortSignal.timeout(10_000),
        })
      const [read] = await collect(stream)
      expect(read!.error?.cause).to.have.property('code', 'ERR_UNAUTHENTICATED')
      expect(
        region.view(0, 4096).every(byte => byte === 7),
        'nothing was written',
      ).to.equal(true)
    }
  })
})
