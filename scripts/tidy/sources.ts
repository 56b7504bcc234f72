import ts from 'typescript'
import type { Rule } from './rule.js'
import { lineOf, walk, type Workspace } from './workspace.js'

export const FUNCTION_LINES_MAX = 70

export const sourceRules: readonly Rule[] = [
  { title: `functions have at most ${FUNCTION_LINES_MAX} lines`, check: checkFunctions },
  {
    title: 'every constructor parameter of an @injectable class has its @inject',
    check: inSources(/./, uninjectedParameter),
  },
  {
    title: 'export * only in index.ts',
    check: inSources(/(?<!\/index\.ts)$/, node =>
      ts.isExportDeclaration(node) && node.exportClause == null
        ? 'exports * outside of an index.ts'
        : undefined,
    ),
  },
  {
    title: 'no default exports',
    check: inSources(/./, node =>
      ts.isExportAssignment(node) || (ts.canHaveModifiers(node) && isDefault(node))
        ? 'has a default export; give it a name'
        : undefined,
    ),
  },
  {
    title: 'libraries do not write to the console',
    check: inSources(/^(?!packages\/cli\/)/, node =>
      ts.isPropertyAccessExpression(node) && node.expression.getText() === 'console'
        ? 'uses console; take a Logger'
        : undefined,
    ),
  },
  {
    title: 'no top-level await in libraries, which require() could not load',
    check: inSources(/^(?!packages\/cli\/src\/bin\/)/, node =>
      isAwait(node) && ts.findAncestor(node, ts.isFunctionLike) == null
        ? 'awaits at the top level'
        : undefined,
    ),
  },
]

/** Looks at every node of every source of our packages, tests aside. */
function inSources(paths: RegExp, fault: (node: ts.Node) => string | undefined): Rule['check'] {
  return workspace => {
    const sentences: string[] = []
    for (const path of workspace.code('packages/')) {
      if (!/^packages\/[^/]+\/src\//.test(path) || !paths.test(path)) continue
      walk(workspace.ast(path), node => {
        const sentence = fault(node)
        if (sentence != null) sentences.push(`${path}:${lineOf(node)}: ${sentence}.`)
      })
    }
    return sentences
  }
}

function decoratorNames(node: ts.HasDecorators): string[] {
  return (ts.getDecorators(node) ?? []).map(({ expression }) =>
    (ts.isCallExpression(expression) ? expression.expression : expression).getText(),
  )
}

function uninjectedParameter(node: ts.Node): string | undefined {
  if (!ts.isParameter(node) || !ts.isConstructorDeclaration(node.parent)) return undefined
  const owner = node.parent.parent
  if (!ts.isClassDeclaration(owner) || !decoratorNames(owner).includes('injectable')) return undefined
  if (decoratorNames(node).some(name => name === 'inject' || name === 'injectAll')) return undefined
  return `parameter "${node.name.getText()}" of an @injectable class has no @inject`
}

function isDefault(node: ts.HasModifiers): boolean {
  return (ts.getModifiers(node) ?? []).some(modifier => modifier.kind === ts.SyntaxKind.DefaultKeyword)
}

function isAwait(node: ts.Node): boolean {
  return ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier != null)
}

function checkFunctions(workspace: Workspace): string[] {
  const sentences: string[] = []
  for (const path of workspace.code()) {
    const ast = workspace.ast(path)
    walk(ast, node => {
      if (!ts.isFunctionLike(node) || isSuite(node)) return
      const lines = ast.getLineAndCharacterOfPosition(node.end).line + 2 - lineOf(node)
      if (lines <= FUNCTION_LINES_MAX) return
      const name = node.name?.getText() ?? 'a function'
      sentences.push(
        `${path}:${lineOf(node)}: ${name} has ${lines} lines; ${FUNCTION_LINES_MAX} fit a screen.`,
      )
    })
  }
  return sentences
}

/** A list of tests is as long as it is: a function that calls `describe` or `it` itself. */
function isSuite(node: ts.SignatureDeclaration): boolean {
  let found = false
  const visit = (child: ts.Node): void => {
    if (ts.isFunctionLike(child)) return
    found ||= ts.isCallExpression(child) && /^(?:describe|it)(?:\.\w+)?$/.test(child.expression.getText())
    ts.forEachChild(child, visit)
  }
  if ('body' in node && node.body != null) visit(node.body)
  return found
}
