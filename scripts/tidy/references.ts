import { posix } from 'node:path'
import type { Workspace } from './workspace.js'

interface TsConfig {
  readonly references?: ReadonlyArray<{ readonly path: string }>
}

/** One tsconfig.json, the folders that it refers to, and those that it should. */
interface Project {
  readonly path: string
  readonly found: readonly string[]
  readonly wanted: readonly string[]
  /** Tests may refer to more than they import, e.g. to a program that they start. */
  readonly mayHaveMore: boolean
}

/**
 * A sentence for each tsconfig.json whose references are not what package.json and the imports of the tests
 * ask for.
 */
export function missingReferences(workspace: Workspace): string[] {
  return projects(workspace).flatMap(({ path, found, wanted, mayHaveMore }) => {
    const missing = wanted.filter(folder => !found.includes(folder))
    const surplus = mayHaveMore ? [] : found.filter(folder => !wanted.includes(folder))
    return [
      ...missing.map(folder => `${path}: lacks a reference to ${folder}; "npm run tidy:fix" writes it.`),
      ...surplus.map(folder => `${path}: refers to ${folder} for no reason; "npm run tidy:fix" removes it.`),
    ]
  })
}

/** The files that change, with their new text. */
export function fixedReferences(workspace: Workspace): Map<string, string> {
  const changed = new Map<string, string>()
  for (const { path, found, wanted, mayHaveMore } of projects(workspace)) {
    const folders = [...wanted, ...(mayHaveMore ? found.filter(folder => !wanted.includes(folder)) : [])]
    if (folders.length === found.length && folders.every(folder => found.includes(folder))) continue
    const references = folders.map(folder => ({ path: posix.relative(posix.dirname(path), folder) }))
    const config = { ...workspace.json<TsConfig>(path), references }
    changed.set(path, `${JSON.stringify(config, undefined, 2)}\n`)
  }
  return changed
}

function projects(workspace: Workspace): Project[] {
  const project = (path: string, wanted: readonly string[], mayHaveMore: boolean): Project[] => {
    if (!workspace.files.has(path)) return []
    const references = workspace.json<TsConfig>(path).references ?? []
    const found = references.map(reference => posix.join(posix.dirname(path), reference.path))
    return [{ path, found, wanted, mayHaveMore }]
  }
  const folders = workspace.members.flatMap(({ dir }) => [dir, `${dir}/test`])
  const built = [...folders, 'scripts'].filter(folder => workspace.files.has(`${folder}/tsconfig.json`))
  return [
    ...project('tsconfig.json', built, false),
    ...workspace.members.flatMap(({ dir, manifest }) => {
      const ours = { ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.devDependencies }
      const dependencies = foldersOf(workspace, Object.keys(ours))
      return [
        ...project(`${dir}/tsconfig.json`, dependencies, false),
        ...project(`${dir}/test/tsconfig.json`, testReferences(workspace, dir), true),
      ]
    }),
  ]
}

function testReferences(workspace: Workspace, dir: string): string[] {
  const imports = workspace.code(`${dir}/test/`).flatMap(path => workspace.imports(path))
  const imported = foldersOf(
    workspace,
    imports.map(({ specifier }) => specifier),
  )
  const own = workspace.files.has(`${dir}/tsconfig.json`) ? [dir] : []
  return [...new Set([...own, ...imported])]
}

/** Folders of those names that are members with something to compile. */
function foldersOf(workspace: Workspace, names: readonly string[]): string[] {
  return names.flatMap(name => {
    const dir = workspace.named(name)?.dir
    return dir != null && workspace.files.has(`${dir}/tsconfig.json`) ? [dir] : []
  })
}
