/** From a fresh clone to something that runs. Each part does nothing where nothing is to do. */
import { join } from 'node:path'
import { installDependencies } from './dependencies.mjs'
import { buildNative } from './native.mjs'
import { Refusal, root, step } from './steps.mjs'

const NODE_MIN = [20, 19]

export async function setup() {
  checkNode()
  await installDependencies()
  await buildNative()
  await step('tsc -b', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'])
}

export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return
  throw new Refusal(`mooncake-ts needs Node ${NODE_MIN.join('.')} or newer; this is ${process.version}.`)
}
