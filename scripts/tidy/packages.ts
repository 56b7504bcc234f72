import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { missingReferences } from './references.js'
import type { Rule } from './rule.js'
import type { Member, Workspace } from './workspace.js'

const SCOPE = '@mooncake-ts/'
const CORE = `${SCOPE}core`

/** Who may import whom: the table of ARCHITECTURE.md, by folder. The first row that fits counts. */
const MAY_IMPORT: ReadonlyArray<readonly [folder: RegExp, packages: readonly string[] | 'everything']> = [
  [/^core$/, []],
  [/^(?:memory|io-uring|rpc)$/, ['core']],
  [/^metrics-/, ['core']],
  [/^(?:transport|tier)-/, ['core', 'memory', 'io-uring']],
  [/^(?:store|master)$/, ['core', 'memory', 'rpc']],
  [/^testkit$/, ['core', 'memory']],
  [/^cli$/, 'everything'],
]

/** What core may take from others; nobody else may have the first two. */
const CORE_ONLY = ['tsyringe', 'reflect-metadata']
const CORE_MAY_HAVE = [...CORE_ONLY, 'rxjs']
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish']

export const packageRules: readonly Rule[] = [
  { title: 'packages import only what the dependency table allows', check: checkTable },
  { title: 'only core knows tsyringe, and core knows little else', check: checkContainer },
  { title: 'every import is declared, and reaches no inner file of another package', check: checkImports },
  { title: 'every dependency is used', check: checkUnused },
  { title: 'core is a peer dependency with a range', check: checkPeers },
  { title: 'nothing needs an install script', check: checkScripts },
  { title: 'every package has a README.md', check: checkReadmes },
  { title: 'tsconfig references match the dependencies', check: missingReferences },
]

function folderOf(member: Member): string {
  return posix.basename(member.dir)
}

function declaredIn(member: Member): string[] {
  const { dependencies, peerDependencies } = member.manifest
  return Object.keys({ ...dependencies, ...peerDependencies })
}

/** `@scope/name` or `name` of an import; undefined for relative paths and for what Node has itself. */
function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function checkTable(workspace: Workspace): string[] {
  return workspace.packages.flatMap(member => {
    const row = MAY_IMPORT.find(([folder]) => folder.test(folderOf(member)))
    if (row == null) return [`${member.dir}: has no row in the dependency table of scripts/tidy/packages.ts.`]
    const allowed = row[1]
    if (allowed === 'everything') return []
    const forbidden = (name: string): boolean =>
      name.startsWith(SCOPE) && name !== member.manifest.name && !allowed.includes(name.slice(SCOPE.length))
    const rule = `${folderOf(member)} may import only ${allowed.join(', ') || 'nothing of ours'}`
    const declared = declaredIn(member)
      .filter(forbidden)
      .map(name => `${member.dir}/package.json: depends on ${name}, but ${rule}.`)
    const imported = workspace.code(`${member.dir}/src/`).flatMap(path =>
      workspace
        .imports(path)
        .filter(({ specifier }) => forbidden(packageOf(specifier) ?? ''))
        .map(({ line, specifier }) => `${path}:${line}: imports ${specifier}, but ${rule}.`),
    )
    return [...declared, ...imported]
  })
}

function checkContainer(workspace: Workspace): string[] {
  const sentences: string[] = []
  for (const member of workspace.members) {
    const isCore = member.manifest.name === CORE
    const wrong = (name: string): boolean =>
      isCore ? name !== CORE && !CORE_MAY_HAVE.includes(name) : CORE_ONLY.includes(name)
    const why = isCore ? `core may import only ${CORE_MAY_HAVE.join(', ')}` : 'it is a matter of core alone'
    for (const name of declaredIn(member).filter(wrong)) {
      sentences.push(`${member.dir}/package.json: depends on ${name}, but ${why}.`)
    }
    for (const path of workspace.code(`${member.dir}/${isCore ? 'src/' : ''}`)) {
      for (const { line, specifier } of workspace.imports(path)) {
        const name = packageOf(specifier)
        if (name != null && wrong(name)) sentences.push(`${path}:${line}: imports ${specifier}, but ${why}.`)
      }
    }
  }
  return sentences
}

function checkImports(workspace: Workspace): string[] {
  return workspace.members.flatMap(member =>
    workspace.code(`${member.dir}/`).flatMap(path =>
      workspace.imports(path).flatMap(({ line, specifier }) => {
        const fault = importFault(workspace, member, path, specifier)
        return fault == null ? [] : [`${path}:${line}: imports ${specifier}, ${fault}.`]
      }),
    ),
  )
}

function importFault(
  workspace: Workspace,
  member: Member,
  path: string,
  specifier: string,
): string | undefined {
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(path), specifier)
    return target.startsWith(`${member.dir}/`) ? undefined : 'which is outside of its package'
  }
  const name = packageOf(specifier)
  if (name == null) return undefined
  if (builtinModules.includes(specifier)) return `which belongs to Node: write node:${specifier}`
  const inner = specifier.slice(name.length + 1)
  if (name.startsWith(SCOPE) && inner !== '' && inner !== 'package.json') {
    return 'an inner file of another package: import what its index exports'
  }
  if (name === member.manifest.name || declaredIn(member).includes(name)) return undefined
  const isShipped = path.startsWith(`${member.dir}/src/`) && member.dir.startsWith('packages/')
  if (isShipped) return `which ${member.dir}/package.json does not declare`
  const tools = { ...workspace.rootManifest.devDependencies, ...member.manifest.devDependencies }
  if (Object.hasOwn(tools, name) || workspace.named(name) != null) return undefined
  return `which neither ${member.dir}/package.json nor the root declares`
}

function checkUnused(workspace: Workspace): string[] {
  return workspace.packages.flatMap(member => {
    const sources = workspace.code(`${member.dir}/src/`).map(path => workspace.files.get(path)!)
    if (sources.length === 0) return []
    return Object.keys(member.manifest.dependencies ?? {})
      .filter(name => !sources.some(text => text.includes(`'${name}'`) || text.includes(`'${name}/`)))
      .map(name => `${member.dir}/package.json: depends on ${name}, but nothing in src imports it.`)
  })
}

/** While core is 0.x a caret would break every plugin at every minor. */
function checkPeers(workspace: Workspace): string[] {
  return workspace.packages.flatMap(({ dir, manifest }) => {
    if (manifest.name === CORE || dir === 'packages/cli') return []
    if (manifest.dependencies?.[CORE] != null) {
      return [
        `${dir}/package.json: has core as a dependency; two copies would meet, make it a peer dependency.`,
      ]
    }
    const range = manifest.peerDependencies?.[CORE]
    const bounds = /^>=(\d+\.\d+\.\d+) <(\d+\.\d+\.\d+)$/.exec(range ?? '')
    if (bounds == null) {
      return [`${dir}/package.json: wants ${range ?? 'no core'}; its peer range must read ">=x.y.z <x.y.z".`]
    }
    const version = workspace.named(CORE)?.manifest.version ?? '0.0.0'
    const fits = compare(version, bounds[1]!) >= 0 && compare(version, bounds[2]!) < 0
    return fits ? [] : [`${dir}/package.json: wants core ${range}, which does not include ${version}.`]
  })
}

function compare(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true })
}

function checkScripts(workspace: Workspace): string[] {
  return workspace.members.flatMap(({ dir, manifest }) => {
    const sentences = INSTALL_SCRIPTS.filter(name => manifest.scripts?.[name] != null).map(
      name => `${dir}/package.json: has a script "${name}", which current npm does not run for dependencies.`,
    )
    if (workspace.files.has(`${dir}/binding.gyp`) && manifest.gypfile !== false) {
      sentences.push(`${dir}/package.json: needs "gypfile": false, or npm compiles it at every install.`)
    }
    return sentences
  })
}

function checkReadmes(workspace: Workspace): string[] {
  return workspace.packages
    .filter(({ dir }) => (workspace.files.get(`${dir}/README.md`) ?? '').trim() === '')
    .map(({ dir }) => `${dir}: has no README.md.`)
}
