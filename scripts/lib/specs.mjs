/** Finds compiled tests, and sees to it that they are those of the sources. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { Refusal, root } from './steps.mjs'

const SKIPPED = new Set(['node_modules', 'build', 'native'])

/**
 * Every compiled test whose source exists: a leftover of a deleted source does not run.
 *
 * @returns {string[]} paths from the root
 */
export function findSpecs() {
  const specs = []
  const sources = new Set()
  for (const top of ['packages', 'examples', 'scripts', 'bench', 'integration']) {
    for (const path of filesBelow(join(root, top))) {
      if (path.endsWith('.spec.ts')) sources.add(path)
      if (path.endsWith('.spec.js') && existsSync(sourceOf(path))) specs.push(path)
    }
  }
  for (const path of specs) sources.delete(sourceOf(path))
  const [lost] = sources
  if (lost == null) return specs.map(path => relative(root, path)).sort()
  throw new Refusal(`${relative(root, lost)} was not compiled: is its tsconfig.json in that of the root?`)
}

/** Tests below a folder named `device` need an RDMA device: `npm run test:rdma` has one. */
export function needsDevice(spec) {
  return spec.includes('/device/')
}

/** True where a test is, or is below, one of the paths; no paths choose every test. */
export function isChosen(spec, paths) {
  return paths.length === 0 || paths.some(path => `${spec}/`.startsWith(`${path.replace(/\/$/, '')}/`))
}

function sourceOf(path) {
  const { sources } = JSON.parse(readFileSync(`${path}.map`, 'utf8'))
  return resolve(dirname(path), sources[0])
}

function* filesBelow(folder) {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.') || SKIPPED.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else yield path
  }
}
