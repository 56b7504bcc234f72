import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect } from 'chai'
import * as core from '@mooncake-ts/core'

type Core = typeof core

/** A user's tree can hold core twice: a plugin with a nested copy meets a store with another. */
describe('two copies of core in one process', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mooncake-core-'))
  let other: Core

  before(async () => {
    const root = dirname(dirname(fileURLToPath(import.meta.resolve('@mooncake-ts/core'))))
    for (const part of ['dist', 'package.json'])
      cpSync(join(root, part), join(folder, part), { recursive: true })
    // Its dependencies are those of the first copy: what is doubled here is core.
    const modules = dirname(dirname(createRequire(import.meta.url).resolve('rxjs/package.json')))
    symlinkSync(modules, join(folder, 'node_modules'))
    other = (await import(pathToFileURL(join(folder, 'dist', 'index.js')).href)) as Core
  })

  after(() => rmSync(folder, { recursive: true, force: true }))

  it('really is another copy', () => {
    expect(other.MooncakeError).to.not.equal(core.MooncakeError)
    expect(other.Host).to.not.equal(core.Host)
  })

  it('shares every token', () => {
    const symbols = (copy: Core): unknown[] => Object.values(copy).filter(item => typeof item === 'symbol')
    expect(symbols(other)).to.deep.equal(symbols(core)).and.have.length.above(9)
  })

  it('hosts the plugins of the other, classes too', async () => {
    const made: string[] = []
    const factory = other.definePlugin<{ name: string }>({
      name: 'factory',
      provides: other.token<{ name: string }>('test/Copy'),
      useFactory: () => ({ name: 'made', start: () => void made.push('started') }),
    })
    class Reader {
      readonly options: object
      constructor(options: object) {
        this.options = options
      }
    }
    other.inject(other.OPTIONS)(Reader, undefined, 0)
    other.injectable()(Reader)
    const READER = other.token<Reader>('test/Reader')
    const reader = other.definePlugin<Reader, { depth: number }>({
      name: 'r',
      provides: READER,
      useClass: Reader,
    })
    await using host = await new core.Host([factory(), reader({ depth: 3 })]).start()
    expect(host.get(core.token<{ name: string }>('test/Copy')).name).to.equal('made')
    expect(host.get(READER).options).to.deep.equal({ depth: 3 })
    expect(made).to.deep.equal(['started'])
  })

  it('recognizes the errors of the other by their code', () => {
    const error = new other.MooncakeError('ERR_RPC_TIMEOUT', 'late')
    expect(error).to.not.be.instanceOf(core.MooncakeError)
    expect(core.hasCode(error, 'ERR_RPC_TIMEOUT')).to.equal(true)
    expect(core.isRetryable(error)).to.equal(true)
    expect(core.asMooncakeError(error, 'ERR_IO')).to.include({ code: 'ERR_RPC_TIMEOUT', message: 'late' })
  })

  it('proves the secret to the other', () => {
    const security = { secret: 's', allowInsecure: false }
    const challenge = { protocol: 'p', clientNonce: core.createNonce(), serverNonce: other.createNonce() }
    const proof = other.proveSecret(security, 'server', challenge)
    expect(core.verifyProof(security, 'server', challenge, proof)).to.equal(true)
  })
})
