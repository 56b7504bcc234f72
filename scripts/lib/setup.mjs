/** From a fresh clone to something that runs. Each part does nothing where nothing is to do. */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { installDependencies } from './dependencies.mjs'
import { buildNative } from './native.mjs'
import { Refusal, root, step } from './steps.mjs'

const NODE_MIN = [20, 19]

export async function setup() {
  checkNode()
  await installDependencies()
  await buildNative()
  forgetDeletedBuilds()
  await step('tsc -b', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'])
}

/** tsc trusts its build info, also where somebody deleted what it had built. */
function forgetDeletedBuilds() {
  for (const folder of readdirSync(join(root, 'packages'))) {
    const info = join(root, 'packages', folder, 'tsconfig.tsbuildinfo')
    if (!existsSync(join(dirname(info), 'dist'))) rmSync(info, { force: true })
  }
}

export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return
  throw new Refusal(`mooncake-ts needs Node ${NODE_MIN.join('.')} or newer; this is ${process.version}.`)
}
