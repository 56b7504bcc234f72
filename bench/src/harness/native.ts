import { execFile } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))

/**
 * Builds one of `bench/native/*.cc`, if its source is newer than the program; gives the path of the program.
 */
export async function buildNative(name: string): Promise<string> {
  const source = join(root, 'native', `${name}.cc`)
  const program = join(root, 'build', name)
  if (modifiedMs(program) < modifiedMs(source)) {
    mkdirSync(dirname(program), { recursive: true })
    await run('g++', ['-O2', '-std=c++20', '-Wall', '-Wextra', '-pthread', '-o', program, source])
  }
  return program
}

function modifiedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
