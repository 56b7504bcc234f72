import { expect } from 'chai'
import { loadAddon, type AddonSpec } from '@mooncake-ts/core'
import { failure } from './support.js'

interface Addon {
  readonly abi: number
}

const spec: AddonSpec<Addon> = {
  moduleUrl: 'file:///opt/pigeon/dist/native.js',
  packageName: 'pigeon',
  nodeGypBuild: () => ({ abi: 3 }),
  versionOf: addon => addon.abi,
  version: 3,
  needs: 'feathers',
}

describe('loadAddon', () => {
  it('looks in the root of the package, and gives what is there', () => {
    const roots: string[] = []
    const addon = loadAddon({ ...spec, nodeGypBuild: root => (roots.push(root), { abi: 3 }) })
    expect(addon.abi).to.equal(3)
    expect(roots).to.deep.equal(['/opt/pigeon/'])
  })

  it('says what to type where there is no binary', async () => {
    const cause = new Error('No native build was found')
    const nodeGypBuild = (): never => {
      throw cause
    }
    const error = await failure(() => loadAddon({ ...spec, nodeGypBuild }))
    expect(error).to.include({ code: 'ERR_NATIVE_MISSING', cause })
    expect(error.message).to.match(/npm run build:native -w pigeon.*needs feathers/)
  })

  it('refuses a binary of another version', async () => {
    const error = await failure(() => loadAddon({ ...spec, version: 4 }))
    expect(error).to.include({ code: 'ERR_NATIVE_VERSION_MISMATCH' })
    expect(error.message).to.include('has interface 3, the JavaScript 4')
  })
})
