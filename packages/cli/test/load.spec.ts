import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { HELP_SHOWN, loadSettings, refuseIgnored, type Settings } from '../dist/flags/load.js'
import { notBuilt, type Flag } from '../dist/flags/spec.js'

const FLAGS: readonly Flag[] = [
  { name: 'config_path', type: 'string', help: '', default: '' },
  { name: 'rpc_port', type: 'port', help: '', default: 1, env: 'TEST_PORT' },
  { name: 'prefix', type: 'string', help: '', default: '' },
  { name: 'fast', type: 'bool', help: '', default: false, env: 'TEST_FAST' },
  { name: 'size', type: 'bytes', help: '', min: 1 },
  notBuilt('enable_ha', 'bool', false),
]

function load(
  argv: readonly string[],
  env: Record<string, string> = {},
  positionals: readonly string[] = [],
) {
  const invocation = loadSettings({ program: 'test', summary: '', flags: FLAGS, positionals, argv, env })
  if (invocation === HELP_SHOWN) throw new Error('The help was shown')
  return invocation
}
const settings = (...argv: string[]): Settings => load(argv).settings

describe('loadSettings', () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'mooncake-load-'))
  })
  after(() => {
    rmSync(dir, { recursive: true })
  })
  function file(name: string, content: string): string {
    const path = join(dir, name)
    writeFileSync(path, content)
    return path
  }

  it('takes every spelling of gflags', () => {
    const spellings = [
      ['--rpc_port', '7'],
      ['--rpc-port', '7'],
      ['-rpc_port', '7'],
      ['--rpc_port=7'],
      ['-rpc-port=7'],
    ]
    for (const argv of spellings) expect(settings(...argv).rpc_port, argv.join(' ')).to.equal(7)
  })

  it('takes every spelling of a boolean', () => {
    const yes = [['--fast'], ['-fast'], ['--fast=true'], ['--fast=1'], ['--fast', 'true'], ['--fast=yes']]
    const no = [
      ['--nofast'],
      ['--no-fast'],
      ['--no_fast'],
      ['--fast=false'],
      ['--fast', 'false'],
      ['--fast=0'],
    ]
    for (const argv of yes) expect(settings(...argv).fast, argv.join(' ')).to.equal(true)
    for (const argv of no) expect(settings('--fast', ...argv).fast, argv.join(' ')).to.equal(false)
  })

  it('leaves values and words alone, whatever they look like', () => {
    expect(settings('--prefix', '-a-b').prefix).to.equal('-a-b')
    expect(settings('--prefix', '--rpc-port').prefix).to.equal('--rpc-port')
    expect(settings('--prefix=a\nb').prefix).to.equal('a\nb')
    expect(settings('--prefix=').prefix).to.equal('')
    expect(load(['--fast', 'my-key', '-'], {}, ['KEY', 'FILE']).positionals).to.deep.equal(['my-key', '-'])
    expect(load(['--', '--fast-key'], {}, ['KEY']).positionals).to.deep.equal(['--fast-key'])
  })

  it('prefers the command line to the environment, that to the file, that to the default', () => {
    const path = file('settings.yaml', 'rpc-port: 3\nfast: true\n')
    const env = { TEST_PORT: '2' }
    const config = `--config_path=${path}`
    expect(load([config, '--rpc_port=4'], env).settings.rpc_port).to.equal(4)
    expect(load([config], env).settings.rpc_port).to.equal(2)
    expect(load([config]).settings.rpc_port).to.equal(3)
    expect(load([]).settings.rpc_port).to.equal(1)
    expect(load([config, '--nofast']).settings.fast, 'a false that was given counts').to.equal(false)
    expect(load([], { TEST_PORT: '' }).settings.rpc_port, 'an empty variable is none').to.equal(1)
  })

  it('reads YAML and JSON; what a flag takes as JSON may be nested there', () => {
    const yaml = file('nested.yaml', 'prefix:\n  tiers: [{type: DRAM}]\n')
    expect(settings('--config_path', yaml).prefix).to.equal('{"tiers":[{"type":"DRAM"}]}')
    expect(settings('--config_path', file('a.json', '{"size": "2MiB"}')).size).to.equal(2 ** 21)
    expect(settings('--config_path', file('b.yml', 'size: 4096')).size).to.equal(4096)
  })

  it('refuses with one sentence that says where', () => {
    const path = file('wrong.yaml', 'rpc_port: many\n')
    const cases: ReadonlyArray<
      readonly [argv: readonly string[], words: string, env?: Record<string, string>]
    > = [
      [['--rpc_prot=1'], "unknown option '--rpc_prot=1'"],
      [['--rpc_port'], "option '--rpc_port <port>' argument missing"],
      [['--rpc_port=1.5'], '--rpc_port: expected a port from 0 to 65535, got "1.5"'],
      [['--rpc_port='], '--rpc_port: expected a port from 0 to 65535, got ""'],
      [['--fast=maybe'], '--fast: expected true or false'],
      [['--size=0'], '--size: expected at least 1'],
      [['--enable_ha'], '--enable_ha: this setting of the reference system is not built yet'],
      [[], 'TEST_PORT: expected a port', { TEST_PORT: 'x' }],
      [['--config_path', path], `${path}: rpc_port: expected a port`],
      [['--config_path', file('list.json', '[]')], 'expected a mapping'],
      [['--config_path', file('other.yaml', 'color: red')], 'color: no such setting'],
      [['--config_path', file('bad.json', '{')], 'cannot be read'],
      [['surplus'], 'too many arguments'],
    ]
    for (const [argv, words, env] of cases) {
      expect(() => load(argv, env), argv.join(' '))
        .to.throw()
        .that.satisfies((error: Error & { code: string }) => {
          expect(error.code).to.equal('ERR_CONFIG')
          expect(error.message).to.include(words).and.not.include('\n')
          return true
        })
    }
    expect(settings('--noenable_ha').enable_ha, 'asking for nothing is fine').to.equal(false)
  })

  it('refuses what nothing would use, by where it was said; the environment may be that of others', () => {
    const path = file('ignored.yaml', 'rpc_port: 2\n')
    const refuse = (argv: readonly string[], env = {}) => {
      refuseIgnored(load(argv, env), ['fast', 'rpc_port'], 'here')
    }
    expect(() => refuse(['--rpc-port=1'])).to.throw('--rpc_port: means nothing here')
    expect(() => refuse(['--config_path', path])).to.throw(`${path}: rpc_port: means nothing here`)
    refuse(['--prefix=x'], { TEST_PORT: '2', TEST_FAST: 'true' })
  })
})
