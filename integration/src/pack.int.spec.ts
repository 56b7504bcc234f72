import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect } from 'chai'
import { run } from './support/programs.js'
import { workspaceRoot } from './support/workspace.js'

interface Packed {
  readonly name: string
  readonly filename: string
  readonly files: ReadonlyArray<{ readonly path: string }>
}

/** What a user of the packages and of somebody else's tier would write. */
const PROGRAM = `
import { MIB } from '@mooncake-ts/core'
import { createMaster, masterClient } from '@mooncake-ts/master'
import { rpc } from '@mooncake-ts/rpc'
import { createStore } from '@mooncake-ts/store'
import { dram } from '@mooncake-ts/tier-dram'
import { tcp } from '@mooncake-ts/transport-tcp'
import { tmpfs } from 'mooncake-tier-tmpfs-example'

const open = []
try {
  const master = await createMaster({ rpc: rpc({ listen: ['127.0.0.1:0'] }), metricsPort: 0 })
  open.push(master)
  const start = async (name, tiers) => {
    const directory = masterClient({ endpoints: [master.rpcEndpoint] })
    const store = await createStore({ name, master: directory, transports: [tcp()], tiers })
    open.push(store)
    return store
  }
  await start('memory', [dram({ capacityBytes: 64 * MIB })])
  await start('files', [tmpfs({ dir: process.argv[2], capacityBytes: 64 * MIB })])
  const client = await start('client', [])
  const value = Buffer.alloc(MIB, 'mooncake')
  const [same, where] = [[], []]
  for (const node of ['memory', 'files']) {
    await client.put('key-' + node, value, { replicate: { preferredSegments: [node] } })
    same.push(value.equals(await client.get('key-' + node)))
    const answer = await fetch('http://' + master.httpEndpoint + '/query_key?key=key-' + node)
    where.push((await answer.json()).replicas[0].segment)
  }
  console.log(JSON.stringify({ same, where, core: import.meta.resolve('@mooncake-ts/core') }))
} finally {
  for (const part of open.reverse()) await part.close()
}
`

/** None where there is no addon, or where set-up did without an optional one. */
function addonsBuilt(name: string): number {
  const folder = join(workspaceRoot, 'packages', basename(name), 'build/Release')
  return existsSync(folder) ? readdirSync(folder).filter(file => file.endsWith('.node')).length : 0
}

describe('npm pack', function () {
  this.timeout(240_000)
  let dir: string
  let packed: Packed[]

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mooncake-pack-'))
    const staged = await run(process.execPath, [join(workspaceRoot, 'scripts/stage.mjs')])
    expect(staged.code, staged.stderr).to.equal(0)
    const folders = readdirSync(join(workspaceRoot, 'packages')).map(name => `./packages/${name}`)
    const args = ['pack', ...folders, './examples/tier-tmpfs', '--json', '--pack-destination', dir]
    const { code, stdout, stderr } = await run('npm', args, { cwd: workspaceRoot, timeoutMs: 120_000 })
    expect(code, stderr).to.equal(0)
    packed = JSON.parse(stdout.toString()) as Packed[]
  })
  after(async () => {
    await rm(dir, { recursive: true, force: true })
  })

  it('takes what users need, and nothing of our kitchen', () => {
    for (const { name, files } of packed) {
      const paths = files.map(file => file.path)
      expect(paths, name).to.include.members([
        'package.json',
        'README.md',
        'dist/index.js',
        'dist/index.d.ts',
      ])
      const kitchen = paths.filter(path =>
        /(?:^|\/)(?:test|dist-test|build|node_modules|scripts)\/|\.tsbuildinfo$|tsconfig/.test(path),
      )
      expect(kitchen, name).to.deep.equal([])
      if (!name.startsWith('@mooncake-ts/')) continue
      expect(paths, name).to.include('LICENSE')
      const { platform, arch } = process
      const prebuilt = paths.filter(
        path => path.startsWith(`prebuilds/${platform}-${arch}/`) && path.endsWith('.node'),
      )
      expect(prebuilt, name).to.have.length(addonsBuilt(name))
    }
  })

  it('installs into an empty project, with a tier by a third party, and serves a put and a get there', async () => {
    const project = join(dir, 'project')
    const tarballs = Object.fromEntries(
      packed.map(({ name, filename }) => [name, `file:../${basename(filename)}`]),
    )
    await run('mkdir', [project])
    await writeFile(
      join(project, 'package.json'),
      JSON.stringify({ private: true, type: 'module', dependencies: tarballs }),
    )
    await writeFile(join(project, 'main.js'), PROGRAM)
    // No scripts: nothing is compiled on a user's machine.
    const args = ['install', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund']
    const installed = await run('npm', args, { cwd: project, timeoutMs: 120_000 })
    expect(installed.code, installed.stderr).to.equal(0)
    expect(existsSync(join(project, 'node_modules/@mooncake-ts/memory/build'))).to.equal(false)

    const { code, stdout, stderr } = await run(process.execPath, ['main.js', dir], { cwd: project })
    expect(code, stderr).to.equal(0)
    const { same, where, core } = JSON.parse(stdout.toString()) as Record<string, unknown>
    expect(same).to.deep.equal([true, true])
    expect(where).to.deep.equal(['memory/dram-0', 'files/tmpfs-0'])
    expect(core).to.match(new RegExp(`^file://${project}/node_modules/`))

    const help = await run(join(project, 'node_modules/.bin/mooncake_master'), ['--help'], { cwd: project })
    expect([help.code, help.stdout.toString()]).to.satisfy(
      ([exit, text]: [number, string]) => exit === 0 && text.includes('--rpc_port'),
    )
  })
})
