import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const scripts = fileURLToPath(new URL('../..', import.meta.url))
/** What apt-get brings is there afterwards. */
const APT_GET = `#!/bin/sh
echo "apt-get $*" >> "$LOG"
if [ "$1" = install ]; then for tool in "$@"; do ln -sf "$BIN/true" "$BIN/$tool"; done; fi
`
const NODE_GYP = `
import { appendFileSync } from 'node:fs'
appendFileSync(process.env.LOG, 'node-gyp with ' + process.env.CXX + '\\n')
`

describe('build-native', function () {
  this.timeout(20_000)
  let root: string
  let bin: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'mooncake-setup-'))
    bin = join(root, 'bin')
    cpSync(join(scripts, 'lib'), join(root, 'scripts/lib'), { recursive: true })
    cpSync(join(scripts, 'build-native.mjs'), join(root, 'scripts/build-native.mjs'))
    write('node_modules/node-gyp/bin/node-gyp.js', NODE_GYP)
    write('package.json', '{"type": "module"}')
    write('log', '')
    mkdirSync(bin)
    for (const tool of ['sh', 'ln', 'true']) symlinkSync(join('/bin', tool), join(bin, tool))
    addon('one')
  })
  afterEach(() => {
    rmSync(root, { recursive: true, force: true })
  })

  it('says what to type where tools are missing and it may not install them', () => {
    has('make')
    tool('apt-get', APT_GET)
    const { status, stderr } = build({ uid: 1000 })
    expect(status).to.equal(1)
    expect(stderr).to.include('lacks. Type: sudo apt-get update && sudo apt-get install')
    expect(stderr)
      .to.match(/g\+\+ python3$/m)
      .and.not.include('make')
    expect(log()).to.deep.equal([])
  })

  it('says what is missing where there is no apt-get', () => {
    const { status, stderr } = build({ uid: 0 })
    expect(status).to.equal(1)
    expect(stderr).to.include('g++, make, python3').and.include('Install them and try again.')
  })

  it('installs what is missing, and builds once', () => {
    has('make')
    tool('apt-get', APT_GET)
    const first = build({ uid: 0 })
    expect(first.status, first.stderr).to.equal(0)
    const done = [
      'apt-get update',
      'apt-get install -y --no-install-recommends g++ python3',
      'node-gyp with g++',
    ]
    expect(log()).to.deep.equal(done)
    expect(build({ uid: 0 }).status).to.equal(0)
    expect(log(), 'nothing was stale').to.deep.equal(done)
  })

  it('takes another compiler where there is no g++', () => {
    has('make', 'python3', 'clang++')
    expect(build({ uid: 1000 }).status).to.equal(0)
    expect(log()).to.deep.equal(['node-gyp with clang++'])
  })

  it('goes on without the headers of an optional addon, and asks apt-get for them once', () => {
    has('make', 'python3')
    tool('g++', '#!/bin/sh\nexit 1\n')
    tool('apt-get', '#!/bin/sh\necho "apt-get $*" >> "$LOG"\nexit 100\n')
    addon('transport-rdma')
    const { status, stdout } = build({ uid: 0 })
    expect(status).to.equal(0)
    expect(stdout).to.include('packages/transport-rdma is left unbuilt').and.include('libibverbs-dev')
    const done = ['node-gyp with g++', 'apt-get update']
    expect(log()).to.deep.equal(done)
    expect(build({ uid: 0 }).stdout).to.include('left unbuilt')
    expect(log()).to.deep.equal(done)
  })

  function build({ uid }: { uid: number }) {
    const env = { PATH: bin, BIN: bin, LOG: join(root, 'log') }
    const as = `data:text/javascript,process.getuid=()=>${uid}`
    return spawnSync(process.execPath, ['--import', as, join(root, 'scripts/build-native.mjs')], {
      env,
      encoding: 'utf8',
    })
  }

  function log(): string[] {
    return readFileSync(join(root, 'log'), 'utf8').split('\n').slice(0, -1)
  }

  function addon(name: string): void {
    write(`packages/${name}/binding.gyp`, '{}')
    write(`packages/${name}/native/one.cc`, '')
  }

  /** Programs that do nothing. */
  function has(...names: readonly string[]): void {
    for (const name of names) symlinkSync(join(bin, 'true'), join(bin, name))
  }

  function tool(name: string, script: string): void {
    write(`bin/${name}`, script)
    chmodSync(join(bin, name), 0o755)
  }

  function write(path: string, text: string): void {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
})
