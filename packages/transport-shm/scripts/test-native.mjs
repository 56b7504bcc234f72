// Builds and runs the tests of native/core under the address and undefined behaviour sanitizers.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const binary = join(root, '.cache', 'native-test', 'test')
const flags = ['-std=c++20', '-O1', '-g', '-Wall', '-Wextra', '-Werror']
const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
const sources = ['core/packet_socket.cc', 'test/packet_socket_test.cc'].map(path =>
  join(root, 'native', path),
)

mkdirSync(dirname(binary), { recursive: true })
run(process.env.CXX ?? 'g++', [...flags, ...sanitizers, ...sources, '-o', binary])
run(binary, [])

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (error != null) throw error
  if (status !== 0) process.exit(status ?? 1)
}
