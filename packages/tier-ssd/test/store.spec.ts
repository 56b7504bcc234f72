import { expect } from 'chai'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { mib } from '@mooncake-ts/core'
import { createMaster, masterClient, type Master } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore, type Store } from '@mooncake-ts/store'
import { inProcess, InProcessNetwork, randomBytes, until } from '@mooncake-ts/testkit'
import { ssd } from '@mooncake-ts/tier-ssd'

describe('a store over ssd', () => {
  const network = new InProcessNetwork()
  let directory: string
  let master: Master
  let client: Store
  let node: Store

  const joinAs = async (name: string, capacityBytes: number): Promise<Store> =>
    await createStore({
      name,
      master: masterClient({ endpoints: [master.rpcEndpoint], heartbeatMs: 50 }),
      rpc: rpc({ listen: capacityBytes > 0 ? ['127.0.0.1:0'] : [] }),
      transports: [inProcess({ network })],
      tiers: capacityBytes > 0 ? [ssd({ directory, capacityBytes })] : [],
    })

  beforeEach(async () => {
    directory = mkdtempSync('/var/tmp/mooncake-ssd-')
    master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), heartbeatMs: 50, admin: false })
    node = await joinAs('node', mib(16))
    client = await joinAs('client', 0)
  })
  afterEach(async () => {
    await Promise.all([client.close(), node.close()])
    await master.close()
    rmSync(directory, { recursive: true })
  })

  it('has its objects again after a restart, and the directory knows', async () => {
    const values = new Map(Array.from({ length: 20 }, (_, i) => [`key ${i}`, randomBytes(1 + i * 5000, i)]))
    for (const [key, bytes] of values) await client.put(key, bytes)
    await client.upsert('key 3', randomBytes(777, 99))
    values.set('key 3', randomBytes(777, 99))
    await client.remove('key 4')
    values.delete('key 4')
    await Promise.all([client.close(), node.close()])
    node = await joinAs('node', mib(16))
    await until(() => master.stats().keyCount === values.size)
    client = await joinAs('client', 0)
    for (const [key, bytes] of values)
      expect(Buffer.from((await client.get(key))!).equals(bytes), key).to.equal(true)
    expect(await client.get('key 4')).to.equal(undefined)
  })

  it('drops a bad object and withdraws its route: a miss, never wrong bytes', async () => {
    await client.put('good', randomBytes(50_000, 1))
    await Promise.all([client.close(), node.close()])
    for (const name of readdirSync(directory).filter(name => name.startsWith('data-')))
      writeFileSync(join(directory, name), randomBytes(mib(16), 2))
    node = await joinAs('node', mib(16))
    await until(() => master.stats().keyCount === 1)
    client = await joinAs('client', 0)
    const bytes = await client.get('good').catch((error: unknown) => error)
    expect(bytes).to.satisfy(
      (got: unknown) => got === undefined || (got as { code?: string }).code === 'ERR_CHECKSUM_MISMATCH',
    )
    await until(() => master.stats().keyCount === 0)
    expect(await client.get('good')).to.equal(undefined)
    await client.put('good', randomBytes(50_000, 3))
    expect(Buffer.from((await client.get('good'))!).equals(randomBytes(50_000, 3))).to.equal(true)
  })

  it('evicts, and takes more than it has room for', async () => {
    for (let i = 0; i < 60; i++) await client.put(`key ${i}`, randomBytes(500_000, i))
    expect(Buffer.from((await client.get('key 59'))!).equals(randomBytes(500_000, 59))).to.equal(true)
    expect(await client.get('key 0')).to.equal(undefined)
  })
})
