// Builds the C++ core without Node, and runs its tests under one sanitizer: node test-native.mjs [address|thread]
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SANITIZERS = { address: 'address,undefined', thread: 'thread' }

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const sanitizer = process.argv[2] ?? 'address'
if (!(sanitizer in SANITIZERS))
  throw new Error(`${sanitizer} is none of ${Object.keys(SANITIZERS).join(', ')}`)

const core = join(root, 'native', 'core')
const files = readdirSync(core).map(name => join(core, name))
const test = join(root, 'native', 'test', 'core_test.cc')
const output = join(root, 'build', `core-test-${sanitizer}`)

const changedAt = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
if (Math.max(...[...files, test].map(changedAt)) > changedAt(output)) {
  mkdirSync(dirname(output), { recursive: true })
  const flags = [
    '-std=c++20',
    '-O1',
    '-g',
    '-Wall',
    '-Wextra',
    '-Werror',
    `-fsanitize=${SANITIZERS[sanitizer]}`,
    '-pthread',
    `-I${join(root, '..', 'memory', 'native')}`,
  ]
  const sources = [test, ...files.filter(path => path.endsWith('.cc'))]
  execFileSync(process.env.CXX ?? 'g++', [...flags, ...sources, '-ldl', '-o', output], { stdio: 'inherit' })
}
// A sanitizer that finds something ends the test with an error.
execFileSync(output, { stdio: 'inherit', env: { ...process.env, UBSAN_OPTIONS: 'halt_on_error=1' } })
