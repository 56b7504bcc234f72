// Builds native/core of the package in the current directory without Node, and runs native/test under sanitizers:
// `node ../../scripts/test-native.mjs [address] [thread]`. Exits with 77 where a sanitizer itself cannot run here.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { root as repository } from './lib/steps.mjs'

const SANITIZERS = { address: 'address,undefined', thread: 'thread' }
const SANITIZER_UNAVAILABLE = 77
const WARNINGS = ['-Wall', '-Wextra', '-Werror']
const compiler = process.env.CXX ?? 'g++'

const files = ['core', 'test'].flatMap(name => {
  const directory = join('native', name)
  return readdirSync(directory).map(file => join(directory, file))
})
const sources = files.filter(file => file.endsWith('.cc') && !file.endsWith('_addon.cc'))

const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['address']
for (const sanitizer of wanted) {
  if (!(sanitizer in SANITIZERS)) {
    throw new Error(`${sanitizer} is none of ${Object.keys(SANITIZERS).join(', ')}`)
  }
  const directory = join('.cache', 'native-test', sanitizer)
  const binary = join(directory, 'test')
  if (!isFresh(binary)) await build(directory, binary, `-fsanitize=${SANITIZERS[sanitizer]}`)
  process.exitCode = run(binary, sanitizer)
  if (process.exitCode !== 0) break
}

function isFresh(binary) {
  const builtMs = statSync(binary, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return files.every(file => statSync(file).mtimeMs < builtMs)
}

async function build(directory, binary, sanitize) {
  mkdirSync(directory, { recursive: true })
  // region_abi.h, which addons have in common.
  const include = `-I${join(repository, 'packages', 'memory', 'native')}`
  const flags = ['-std=c++20', '-O1', '-g', ...WARNINGS, sanitize, '-fno-sanitize-recover=all', include]
  const objects = sources.map(source => join(directory, `${basename(source, '.cc')}.o`))
  await Promise.all(sources.map((source, index) => compile([...flags, '-c', source, '-o', objects[index]])))
  await compile([sanitize, ...objects, '-o', binary, '-ldl', '-pthread'])
}

async function compile(args) {
  const [code] = await once(spawn(compiler, args, { stdio: 'inherit' }), 'exit')
  if (code !== 0) process.exit(code ?? 1)
}

function run(binary, sanitizer) {
  // TSan's map of the address space does not fit every kernel's randomization.
  const machine = process.arch === 'x64' ? 'x86_64' : 'aarch64'
  const [command, ...args] = [...(sanitizer === 'thread' ? ['setarch', machine, '-R'] : []), `./${binary}`]
  const result = spawnSync(command, args, { encoding: 'utf8' })
  if (result.error) throw result.error
  process.stdout.write(result.stdout)
  process.stderr.write(result.stderr)
  if (result.stderr.includes('FATAL: ThreadSanitizer: unexpected memory mapping')) {
    return SANITIZER_UNAVAILABLE
  }
  return result.status ?? 1
}
