import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import ts from 'typescript'

/** What npm reads of a package. */
export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly gypfile?: boolean
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** One folder with a package.json: a package, an example, the bench or the integration tests. */
export interface Member {
  /** From the root, e.g. `packages/core`. */
  readonly dir: string
  readonly manifest: Manifest
}

/** An import, a re-export or a dynamic import, with a literal specifier. */
export interface Import {
  readonly path: string
  readonly line: number
  readonly specifier: string
}

const SKIPPED = new Set([
  'node_modules',
  'dist',
  'dist-test',
  'build',
  'prebuilds',
  'coverage',
  'package-lock.json',
])
const CODE = /\.(?:ts|mts|mjs|js)$/
const TEXT = /\.(?:ts|mts|mjs|js|json|md|cc|cpp|h|hpp|gyp|gypi|ya?ml|sh|txt|py)$|\/run$|^LICENSE$/

/** The repository as text: rules look at this, never at the disk, so that their tests can make one up. */
export class Workspace {
  readonly members: readonly Member[]
  readonly rootManifest: Manifest
  readonly #asts = new Map<string, ts.SourceFile>()

  constructor(readonly files: ReadonlyMap<string, string>) {
    this.rootManifest = this.json('package.json')
    const manifests = [...files.keys()].filter(path =>
      /^(?:(?:packages|examples)\/[^/]+|bench|integration)\/package\.json$/.test(path),
    )
    this.members = manifests.map(path => ({ dir: posix.dirname(path), manifest: this.json<Manifest>(path) }))
  }

  /** The packages that are published. */
  get packages(): readonly Member[] {
    return this.members.filter(member => member.dir.startsWith('packages/'))
  }

  /** The member that has this name. */
  named(name: string): Member | undefined {
    return this.members.find(member => member.manifest.name === name)
  }

  json<T>(path: string): T {
    return JSON.parse(this.files.get(path) ?? '{}') as T
  }

  /** Paths of code below a folder. */
  code(folder = ''): string[] {
    return [...this.files.keys()].filter(path => path.startsWith(folder) && CODE.test(path))
  }

  ast(path: string): ts.SourceFile {
    let ast = this.#asts.get(path)
    if (ast == null) {
      ast = ts.createSourceFile(path, this.files.get(path)!, ts.ScriptTarget.ES2022, true)
      this.#asts.set(path, ast)
    }
    return ast
  }

  imports(path: string): Import[] {
    const found: Import[] = []
    walk(this.ast(path), node => {
      const literal = specifierOf(node)
      if (literal == null) return
      found.push({ path, line: lineOf(literal), specifier: literal.text })
    })
    return found
  }
}

export function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  ts.forEachChild(node, child => walk(child, visit))
}

export function lineOf(node: ts.Node): number {
  return node.getSourceFile().getLineAndCharacterOfPosition(node.getStart()).line + 1
}

function specifierOf(node: ts.Node): ts.StringLiteral | undefined {
  let literal: ts.Node | undefined
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) literal = node.moduleSpecifier
  else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) literal = node.argument.literal
  else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    literal = node.arguments[0]
  }
  return literal != null && ts.isStringLiteral(literal) ? literal : undefined
}

/** Reads all text of the repository that is not built, installed or hidden (but for `.ci`). */
export function readWorkspace(root: string): Workspace {
  const files = new Map<string, string>()
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      if (SKIPPED.has(entry.name) || (entry.name.startsWith('.') && entry.name !== '.ci')) continue
      const path = posix.join(folder, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (entry.isFile() && TEXT.test(path)) files.set(path, readFileSync(join(root, path), 'utf8'))
    }
  }
  visit('')
  return new Workspace(files)
}
