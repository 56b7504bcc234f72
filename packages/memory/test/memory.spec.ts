import { cp, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { Host, LOGGER, MEMORY, silentLogger, value, type Logger } from '@mooncake-ts/core'
import type * as Package from '@mooncake-ts/memory'
import { createMemory, memory, sliceOf } from '@mooncake-ts/memory'
import { packageRoot, throwsCode } from './support.js'

describe('createMemory', () => {
  it('provides regions, wrapped bytes and a pool that joins them', async () => {
    await using provider = createMemory({ copyThreads: 1 })
    const region = provider.createRegion({ byteLength: 5, label: 'test' })
    const wrapped = provider.wrap(Buffer.from('hello'))
    await provider.copyPool.copy([{ from: sliceOf(wrapped), to: sliceOf(region) }])
    expect(Buffer.from(region.view(0, 5)).toString()).to.equal('hello')
    expect(provider.copyPool).to.equal(provider.copyPool)
    region.close()
    wrapped.close()
    await provider.close()
    await provider.close()
  })

  it('refuses options that make no sense', () => {
    throwsCode(() => createMemory({ copyThreads: 0 }), 'ERR_INVALID_PARAMS')
    throwsCode(() => memory({ numaNode: 1.5 }), 'ERR_INVALID_PARAMS')
  })
})

describe('memory, the plugin', () => {
  it('lives in a Host, and tells its logger what it could not have', async () => {
    const warnings: string[] = []
    const logger: Logger = { ...silentLogger, warn: message => warnings.push(message), child: () => logger }
    const host = new Host([value(LOGGER, logger), memory({ numaNode: 1000 })])
    await host.start()
    const provider = host.get(MEMORY)
    const region = provider.createRegion({ byteLength: 100, label: 'far' })
    expect(warnings).to.have.length(1)
    expect(warnings[0]).to.contain("Region 'far'").and.to.contain('NUMA node 1000')
    expect([...(await provider.copyPool.checksum([sliceOf(region, 0, 0)]))]).to.deep.equal([0])
    region.close()
    await host.stop()
  })
})

describe('Without a binary', () => {
  let copyRoot: string

  before(async () => {
    copyRoot = await mkdtemp(join(packageRoot, 'dist-test', 'without-binary-'))
    await cp(join(packageRoot, 'dist'), join(copyRoot, 'dist'), { recursive: true })
    await cp(join(packageRoot, 'package.json'), join(copyRoot, 'package.json'))
  })

  after(() => rm(copyRoot, { recursive: true }))

  it('the package can be imported and composed, and says at its first use what to do', async () => {
    const url = pathToFileURL(join(copyRoot, 'dist', 'index.js')).href
    const bare = (await import(url)) as typeof Package
    const host = new Host([bare.memory()])
    throwsCode(() => bare.createRegion({ byteLength: 1 }), 'ERR_NATIVE_MISSING')
    expect(() => bare.createMemory()).to.throw(/without-binary-.*build:native/)
    await host.stop()
  })
})
