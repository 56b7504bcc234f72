import { Host, RPC_SERVICE, type RpcClient, type RpcMethod } from '@mooncake-ts/core'
import { rpc } from '@mooncake-ts/rpc'
import { expect } from 'chai'
import { BATCH_KEYS_MAX, KEY_BYTES_MAX } from '../dist/limits.js'
import { hasBit, packKeys } from '../dist/packed-keys.js'
import { Exists, Heartbeat, Register, SyncReplicas, type SyncReplicasMessage } from '../dist/protocol.js'
import { Cleanup, failure, nodeInfo, startMaster } from './support.js'

describe('What the master refuses', function () {
  this.timeout(15_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  async function connect(): Promise<RpcClient> {
    const master = cleanup.add(await startMaster())
    const host = await new Host([rpc()]).start()
    cleanup.add({ close: () => host.stop() })
    return host.get(RPC_SERVICE).connect(master.rpcEndpoint)
  }

  /** A registered node without a program behind it. */
  async function register(client: RpcClient) {
    const info = nodeInfo('n')
    const segments = info.segments.map(segment => ({ ...segment, tags: [] }))
    const { nodeId, name, rpcEndpoint = '' } = info
    const request = { deploymentMode: 'P2P', nodeId, name, rpcEndpoint, segments }
    const { epoch } = await client.call(Register, request)
    const report = (sequence: number, keys: string[], fields: Partial<SyncReplicasMessage> = {}) =>
      client.call(SyncReplicas, {
        nodeId,
        epoch,
        sequence,
        segments: ['n/dram'],
        adds: {
          keys,
          generations: keys.map(() => 1),
          segments: keys.map(() => 0),
          byteLengths: keys.map(() => 1),
        },
        removes: { keys: [], generations: [], segments: [] },
        ...fields,
      })
    const exists = async (key: string): Promise<boolean> => {
      return hasBit((await client.call(Exists, packKeys([key]))).present, 0)
    }
    return { request, report, exists, life: { nodeId, epoch } }
  }

  it('a report that was overtaken by a later one', async () => {
    const { report, exists } = await register(await connect())
    await report(1, ['a'])
    await report(3, [], { removes: { keys: ['a'], generations: [1], segments: [0] } })
    expect(await failure(report(2, ['a']))).to.equal('ERR_INVALID_PARAMS')
    expect(await failure(report(3, ['a']))).to.equal('ERR_INVALID_PARAMS')
    expect(await exists('a')).to.equal(false)
  })

  it('a report that does not fit together, as a whole', async () => {
    const { report, exists } = await register(await connect())
    const adds = { keys: ['a', 'b'], generations: [1, 1], segments: [0, 1], byteLengths: [1, 1] }
    expect(await failure(report(1, [], { adds }))).to.equal(
      'ERR_INVALID_PARAMS',
      'no such segment in the list',
    )
    expect(await failure(report(2, [], { adds: { ...adds, segments: [0] } }))).to.equal('ERR_INVALID_PARAMS')
    const uneven = { ...adds, segments: [0, 0], ifAbsent: new Uint8Array(1) }
    expect(await failure(report(2, [], { adds: uneven }))).to.equal('ERR_INVALID_PARAMS')
    expect(await failure(report(3, ['a'], { segments: ['n/ssd'] }))).to.equal('ERR_SEGMENT_NOT_FOUND')
    expect(await exists('a')).to.equal(false)
    await report(1, ['a'])
    expect(await exists('a')).to.equal(true, 'a refused number is not used up')
  })

  it('whoever comes with another epoch', async () => {
    const client = await connect()
    const { report, life, request } = await register(client)
    expect(await failure(report(1, ['a'], { epoch: life.epoch + 1 }))).to.equal('ERR_CLIENT_NOT_FOUND')
    const stranger = { ...life, epoch: life.epoch + 1, segments: request.segments }
    expect(await failure(client.call(Heartbeat, stranger))).to.equal('ERR_CLIENT_NOT_FOUND')
  })

  it('a node of another mode', async () => {
    const client = await connect()
    const { request } = await register(client)
    const other = { ...request, deploymentMode: 'Centralization' }
    expect(await failure(client.call(Register, other))).to.equal('ERR_INVALID_PARAMS')
  })

  it('more keys than the limit, and keys that are none', async () => {
    const client = await connect()
    const ask = (keys: string[]): Promise<string> => failure(client.call(Exists, packKeys(keys)))
    expect(await ask(Array<string>(BATCH_KEYS_MAX).fill('k'))).to.equal('no error')
    expect(await ask(Array<string>(BATCH_KEYS_MAX + 1).fill('k'))).to.equal('ERR_INVALID_PARAMS')
    expect(await ask([''])).to.equal('ERR_INVALID_PARAMS')
    expect(await ask(['k'.repeat(KEY_BYTES_MAX)])).to.equal('no error')
    expect(await ask(['k'.repeat(KEY_BYTES_MAX + 1)])).to.equal('ERR_INVALID_PARAMS')
    const notKeys: RpcMethod<unknown, unknown> = { ...Exists, parseRequest: value => value }
    expect(await failure(client.call(notKeys, { keys: [1] }))).to.equal('ERR_INVALID_PARAMS')
  })
})
