/** What npm installs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, step } from './steps.mjs'

/** Runs `npm ci` where node_modules does not hold what package-lock.json asks for. */
export async function installDependencies() {
  if (!areInstalled()) await step('npm ci', 'npm', ['ci', '--no-audit', '--no-fund'])
}

/** npm notes in node_modules what it installed: the same versions as in the lock file, except for other platforms. */
function areInstalled() {
  const wanted = packagesIn('package-lock.json')
  const found = packagesIn('node_modules/.package-lock.json')
  if (wanted == null || found == null) return false
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.includes('node_modules/') || entry.optional || entry.devOptional) return true
    return found[path] != null && found[path].version === entry.version
  })
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages
  } catch {
    return undefined
  }
}
