/**
 * The programs of the checkout, as one archive. The guest sees every file of the host, but to look one up costs
 * milliseconds there and Node looks up thousands: so it gets those that programs load into its memory.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root, step } from '../lib/steps.mjs'

/** What tests run under, and no package of ours depends on. */
const TEST_PACKAGES = ['mocha', 'chai']
const BUILT = ['package.json', 'dist', 'dist-test', 'build/Release']
const LEFT_OUT = ['*.ts', '*.map', '*.md', 'obj.target', '.deps']

/** @param {string} archive path of the file to write */
export async function packPrograms(archive) {
  const workspaces = ['packages', 'examples'].flatMap(top =>
    readdirSync(join(root, top)).map(name => `${top}/${name}`),
  )
  const built = [...workspaces, 'bench', 'integration'].flatMap(folder =>
    BUILT.map(name => `${folder}/${name}`),
  )
  const files = [...built, ...installed(), 'package.json', 'node_modules/@mooncake-ts', 'scripts/lib']
  const list = `${archive}.list`
  writeFileSync(list, files.filter(path => existsSync(join(root, path))).join('\n'))
  const excluded = LEFT_OUT.map(pattern => `--exclude=${pattern}`)
  await step('files for the virtual machine', 'tar', [
    '-c',
    '-C',
    root,
    '-f',
    archive,
    ...excluded,
    '-T',
    list,
  ])
}

/** Folders of what workspaces and tests load, from what npm has noted. */
function installed() {
  const noted = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(noted)) return []
  const { packages } = JSON.parse(readFileSync(noted, 'utf8'))
  const found = new Set()
  const visit = (name, from) => {
    for (let folder = from; ; folder = dirname(folder)) {
      const path = join(folder, 'node_modules', name)
      if (packages[path] == null && folder !== '.') continue
      const entry = packages[path]
      if (entry == null || entry.link || found.has(path)) return
      found.add(path)
      for (const dependency of Object.keys(entry.dependencies ?? {})) visit(dependency, path)
      return
    }
  }
  for (const entry of Object.values(packages)) {
    if (!entry.link) continue
    const { dependencies = {} } = packages[entry.resolved] ?? {}
    for (const name of Object.keys(dependencies)) visit(name, entry.resolved)
  }
  for (const name of TEST_PACKAGES) visit(name, '.')
  return found
}
