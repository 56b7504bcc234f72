// Builds and runs the tests of native/core under a sanitizer: `node scripts/test-native.mjs [address|thread]`.
// Exits with 77 where the sanitizer itself cannot run here.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SANITIZER_UNAVAILABLE = 77
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const sanitizer = process.argv[2] ?? 'address'
const compiler = process.env.CXX ?? 'g++'
const outDirectory = join(root, '.cache', 'native-test', sanitizer)
const binary = join(outDirectory, 'test')
const sanitize = `-fsanitize=${sanitizer === 'address' ? 'address,undefined' : sanitizer}`

const files = ['core', 'test'].flatMap(name => {
  const directory = join(root, 'native', name)
  return readdirSync(directory).map(file => join(directory, file))
})
const sources = files.filter(file => file.endsWith('.cc') && !file.endsWith('_addon.cc'))

if (!isFresh()) await build()
process.exitCode = run()

function isFresh() {
  const builtMs = statSync(binary, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return files.every(file => statSync(file).mtimeMs < builtMs)
}

async function build() {
  mkdirSync(outDirectory, { recursive: true })
  const flags = [
    '-std=c++20',
    '-O1',
    '-g',
    '-Wall',
    '-Wextra',
    '-Werror',
    sanitize,
    '-fno-sanitize-recover=all',
  ]
  const objects = sources.map(source => join(outDirectory, `${basename(source, '.cc')}.o`))
  await Promise.all(sources.map((source, index) => compile([...flags, '-c', source, '-o', objects[index]])))
  await compile([sanitize, ...objects, '-o', binary, '-pthread'])
}

async function compile(args) {
  const [code] = await once(spawn(compiler, args, { stdio: 'inherit' }), 'exit')
  if (code !== 0) process.exit(code ?? 1)
}

function run() {
  // TSan's map of the address space does not fit every kernel's randomization.
  const setarch =
    sanitizer === 'thread' ? ['setarch', process.arch === 'x64' ? 'x86_64' : 'aarch64', '-R'] : []
  const [command, ...args] = [...setarch, binary]
  const result = spawnSync(command, args, { encoding: 'utf8' })
  if (result.error) throw result.error
  process.stdout.write(result.stdout)
  process.stderr.write(result.stderr)
  if (result.stderr.includes('FATAL: ThreadSanitizer: unexpected memory mapping'))
    return SANITIZER_UNAVAILABLE
  return result.status ?? 1
}
