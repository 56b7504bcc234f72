/** The addons: every packages/<name> with a binding.gyp, built from source where the binary is not of these sources. */
import { createHash } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { has, Refusal, root, step } from './steps.mjs'

/** Any of them will do; the first one is installed, and is what node-gyp takes by itself. */
const COMPILERS = ['g++', 'c++', 'clang++']
const TOOLS = ['make', 'python3']

/** Headers of the system that an addon is built with, and the Debian package that has them. */
const HEADERS = { 'transport-rdma': { header: 'infiniband/verbs.h', debian: 'libibverbs-dev' } }

/** True of an addon without which everything else works: set-up leaves it unbuilt where its headers are missing. */
export function isOptional(name) {
  return name in HEADERS
}

/** Builds what is stale. Tools are looked for, and installed, only then. */
export async function buildNative() {
  const stale = readdirSync(join(root, 'packages'))
    .filter(name => existsSync(join(root, 'packages', name, 'binding.gyp')))
    .map(name => ({ name, stamp: stampOf(join(root, 'packages', name)) }))
    .filter(({ name, stamp }) => readIfThere(stampPath(name)) !== stamp)
  if (stale.length === 0) return
  await findTools()
  for (const { name, stamp } of stale) {
    if (!(await findHeaders(name))) continue
    await build(name)
    mkdirSync(dirname(stampPath(name)), { recursive: true })
    writeFileSync(stampPath(name), stamp)
  }
}

async function build(name) {
  const headers = join(dirname(dirname(process.execPath)), 'include', 'node', 'node_api.h')
  const nodedir = existsSync(headers) ? [`--nodedir=${dirname(dirname(dirname(headers)))}`] : []
  const advice =
    nodedir.length > 0
      ? undefined
      : `The headers of Node are not at ${headers}, so node-gyp has to download them: ` +
        'install them beside node, or say where they are with npm_config_nodedir.'
  const gyp = join(root, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  const args = [gyp, 'rebuild', '-C', join(root, 'packages', name), '--jobs=max', ...nodedir]
  const env = { ...process.env, CXX: findCompiler() }
  await step(`addon of packages/${name}`, process.execPath, args, { advice, env })
}

async function findTools() {
  const missing = [...(findCompiler() == null ? [COMPILERS[0]] : []), ...TOOLS.filter(tool => !has(tool))]
  if (missing.length === 0) return
  const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (process.getuid?.() !== 0 || !has('apt-get')) {
    const how = has('apt-get')
      ? `Type: sudo apt-get update && sudo ${install}`
      : 'Install them and try again.'
    throw new Refusal(`Building the addons needs ${missing.join(', ')}, which this machine lacks. ${how}`)
  }
  await aptInstall(missing.join(' '), install.split(' ').slice(1))
}

/** As the user says, else what there is. */
function findCompiler() {
  return process.env.CXX || COMPILERS.find(has)
}

async function aptInstall(what, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const advice = `Try it by hand: apt-get ${args.join(' ')}`
  await step('apt-get update', 'apt-get', ['update'], { env, advice })
  await step(`apt-get install ${what}`, 'apt-get', args, { env, advice })
}

/** False, with a sentence, where they are missing and cannot be installed: everything else works without this addon. */
async function findHeaders(name) {
  const wanted = HEADERS[name]
  if (wanted == null || hasHeader(wanted.header)) return true
  // Tried once: without a network it takes long, and it would be at every start.
  const failure = join(root, '.cache', 'setup', `${wanted.debian}.failed`)
  if (process.getuid?.() === 0 && has('apt-get') && !existsSync(failure)) {
    try {
      await aptInstall(wanted.debian, ['install', '-y', '--no-install-recommends', wanted.debian])
      return true
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      writeFileSync(failure, error.message)
    }
  }
  console.log(
    `setup: packages/${name} is left unbuilt: it needs the header ${wanted.header}. ` +
      `Install it (Debian: ${wanted.debian}) and run this again, or do without.`,
  )
  return false
}

function hasHeader(header) {
  const [compiler, ...words] = findCompiler().split(' ') // CXX may be `ccache g++`.
  const args = [...words, '-fsyntax-only', '-x', 'c++', '-']
  const input = `#include <${header}>\n`
  return spawnSync(compiler, args, { input, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
}

function stampPath(name) {
  return join(root, 'packages', name, 'build', '.stamp')
}

/** A hash over all that the binary is made from. */
function stampOf(folder) {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}\n`)
  const sources = readdirSync(join(folder, 'native'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
  for (const path of [join(folder, 'binding.gyp'), ...sources.sort()]) {
    hash.update(path.slice(folder.length)).update('\0').update(readFileSync(path)).update('\0')
  }
  return hash.digest('hex')
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}
