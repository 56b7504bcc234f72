import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { packageRules } from '../tidy/packages.js'
import { fixedReferences } from '../tidy/references.js'
import { FUNCTION_LINES_MAX, sourceRules } from '../tidy/sources.js'
import { FILE_LINES_MAX, textRules } from '../tidy/text.js'
import { readWorkspace, Workspace } from '../tidy/workspace.js'

const rules = [...packageRules, ...sourceRules, ...textRules]

/** Up from scripts/dist/test. */
const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))

describe('the repository is tidy', () => {
  const workspace = readWorkspace(root)

  it('and was read', () => {
    expect(workspace.packages.map(({ dir }) => dir)).to.include('packages/core')
    expect(workspace.code('packages/core/src/').length).to.be.above(10)
  })

  for (const { title, check } of rules) {
    it(title, () => expect(check(workspace).join('\n')).to.equal(''))
  }
})

type Files = Record<string, string | object>

const peer = { '@mooncake-ts/core': '>=0.1.0 <0.2.0' }

/** A small repository without a fault. */
const tidyFiles: Files = {
  'package.json': { name: 'root', devDependencies: { chai: '6' } },
  'tsconfig.json': {
    references: [{ path: 'packages/core' }, { path: 'packages/rpc' }, { path: 'packages/rpc/test' }],
  },
  'packages/core/package.json': { name: '@mooncake-ts/core', version: '0.1.5', dependencies: { rxjs: '^7' } },
  'packages/core/tsconfig.json': { references: [] },
  'packages/core/README.md': '# core',
  'packages/core/src/index.ts': "import { of } from 'rxjs'\nexport * from './other.js'\nexport { of }",
  'packages/core/src/other.ts': 'export const other = 1',
  'packages/rpc/package.json': { name: '@mooncake-ts/rpc', peerDependencies: peer },
  'packages/rpc/tsconfig.json': { references: [{ path: '../core' }] },
  'packages/rpc/test/tsconfig.json': { references: [{ path: '..' }] },
  'packages/rpc/README.md': '# rpc',
  'packages/rpc/src/index.ts': "import { readFile } from 'node:fs/promises'\nexport { readFile }",
  'packages/rpc/test/rpc.spec.ts': "import { expect } from 'chai'\nexport { expect }",
}

function workspaceOf(changes: Files = {}): Workspace {
  const entries = Object.entries({ ...tidyFiles, ...changes }).map(
    ([path, content]) => [path, typeof content === 'string' ? content : JSON.stringify(content)] as const,
  )
  return new Workspace(new Map(entries))
}

function sentences(changes: Files): string {
  return rules.flatMap(({ check }) => check(workspaceOf(changes))).join('\n')
}

const lines = (count: number): string => 'void 0\n'.repeat(count)

/** A change that makes the repository untidy, and words of the sentence that says so. */
const faults: Array<[what: string, changes: Files, words: string]> = [
  [
    'an import that the table forbids',
    {
      'packages/rpc/src/index.ts': "import type { Tier } from '@mooncake-ts/tier-dram'\nexport type { Tier }",
    },
    'index.ts:1: imports @mooncake-ts/tier-dram, but rpc may import only core',
  ],
  [
    'a dependency that the table forbids',
    {
      'packages/tier-x/package.json': {
        name: '@mooncake-ts/tier-x',
        dependencies: { '@mooncake-ts/store': '^0.1.0' },
        peerDependencies: peer,
      },
      'packages/tier-x/README.md': '# x',
    },
    'depends on @mooncake-ts/store, but tier-x may import only core, memory, io-uring',
  ],
  [
    'a package that the table does not know',
    { 'packages/odd/package.json': { name: '@mooncake-ts/odd', peerDependencies: peer } },
    'packages/odd: has no row',
  ],
  [
    'tsyringe outside of core',
    { 'packages/rpc/src/index.ts': "export { container } from 'tsyringe'" },
    'imports tsyringe, but it is a matter of core alone',
  ],
  [
    'a new dependency of core',
    {
      'packages/core/package.json': { name: '@mooncake-ts/core', dependencies: { rxjs: '^7', lodash: '4' } },
    },
    'depends on lodash, but core may import only',
  ],
  [
    'an inner file of another package',
    { 'packages/rpc/src/index.ts': "export { Host } from '@mooncake-ts/core/dist/kernel/host.js'" },
    'an inner file of another package',
  ],
  [
    'a relative import of another package, dynamic or of a type',
    {
      'packages/rpc/src/index.ts':
        "export const a = import('../../core/src/index.js')\nexport type B = import('../../core/src/other.js').other",
    },
    'index.ts:2: imports ../../core/src/other.js, which is outside of its package',
  ],
  [
    'an import that is not declared',
    { 'packages/rpc/src/index.ts': "export { pack } from 'msgpackr'" },
    'imports msgpackr, which packages/rpc/package.json does not declare',
  ],
  [
    'an import of a test that nobody declares',
    { 'packages/rpc/test/rpc.spec.ts': "export { spy } from 'sinon'" },
    'imports sinon, which neither',
  ],
  [
    'a tool of the root in what is shipped',
    { 'packages/rpc/src/index.ts': "export { expect } from 'chai'" },
    'imports chai, which packages/rpc/package.json does not declare',
  ],
  [
    'a builtin without node:',
    { 'packages/rpc/src/index.ts': "export { join } from 'path'" },
    'write node:path',
  ],
  [
    'a dependency that nothing imports',
    { 'packages/core/src/index.ts': "export * from './other.js'" },
    'depends on rxjs, but nothing',
  ],
  [
    'core as a dependency',
    {
      'packages/rpc/package.json': {
        name: '@mooncake-ts/rpc',
        dependencies: { '@mooncake-ts/core': '^0.1.0' },
      },
    },
    'two copies would meet',
  ],
  [
    'core behind a caret',
    {
      'packages/rpc/package.json': {
        name: '@mooncake-ts/rpc',
        peerDependencies: { '@mooncake-ts/core': '^0.1.0' },
      },
    },
    'wants ^0.1.0; its peer range must read',
  ],
  [
    'a peer range without the core that is there',
    {
      'packages/rpc/package.json': {
        name: '@mooncake-ts/rpc',
        peerDependencies: { '@mooncake-ts/core': '>=0.2.0 <0.10.0' },
      },
    },
    'does not include 0.1.5',
  ],
  [
    'an install script',
    {
      'packages/rpc/package.json': {
        name: '@mooncake-ts/rpc',
        peerDependencies: peer,
        scripts: { postinstall: 'node x.js' },
      },
    },
    'has a script "postinstall"',
  ],
  ['an addon that npm would compile', { 'packages/rpc/binding.gyp': '{}' }, 'needs "gypfile": false'],
  ['a missing README', { 'packages/rpc/README.md': ' \n' }, 'packages/rpc: has no README.md'],
  [
    'a missing reference',
    { 'packages/rpc/tsconfig.json': { references: [] } },
    'packages/rpc/tsconfig.json: lacks a reference to packages/core',
  ],
  [
    'a reference for no reason',
    { 'packages/core/tsconfig.json': { references: [{ path: '../rpc' }] } },
    'refers to packages/rpc for no reason',
  ],
  [
    'a test project that the root does not build',
    { 'packages/core/test/tsconfig.json': { references: [{ path: '..' }] } },
    'tsconfig.json: lacks a reference to packages/core/test',
  ],
  [
    'a function longer than a screen',
    { 'packages/rpc/src/index.ts': `export function long() {\n${lines(FUNCTION_LINES_MAX - 1)}}` },
    'long has 71 lines',
  ],
  [
    'a long test inside of a list of tests',
    {
      'packages/rpc/test/rpc.spec.ts': `describe('x', () => {\nit('y', () => {\n${lines(FUNCTION_LINES_MAX)}})\n})`,
    },
    'rpc.spec.ts:2: a function has 72 lines',
  ],
  [
    'a parameter without @inject',
    {
      'packages/rpc/src/index.ts':
        '@injectable()\nexport class A { constructor(@inject(T) a: number, @injectAll(T) b: number[], c: number) {} }',
    },
    'parameter "c" of an @injectable class has no @inject',
  ],
  ['export * elsewhere', { 'packages/core/src/other.ts': "export * from './index.js'" }, 'exports * outside'],
  [
    'a default export',
    { 'packages/core/src/other.ts': 'export default 1' },
    'other.ts:1: has a default export',
  ],
  [
    'a default function',
    { 'packages/core/src/other.ts': 'export default function f() {}' },
    'has a default export',
  ],
  ['the console', { 'packages/core/src/other.ts': "console.error('x')" }, 'uses console'],
  ['await at the top level', { 'packages/core/src/other.ts': 'await 1' }, 'awaits at the top level'],
  ['a long file', { 'packages/core/src/other.ts': lines(FILE_LINES_MAX + 1) }, 'other.ts: has 601 lines'],
  ['a wide comment', { 'packages/core/src/other.ts': `// ${'word '.repeat(30)}` }, 'characters wide'],
  [
    'work left for later',
    { 'packages/core/src/other.ts': ['// TO', 'DO: more'].join('') },
    'is left for later',
  ],
  [
    'a path of a machine',
    { 'packages/rpc/README.md': ['See /ho', 'me/me/x'].join('') },
    'is a path of one machine',
  ],
  [
    'the host of a registry',
    { 'packages/rpc/README.md': ['https://reg', 'istry.example.org/x'].join('') },
    'is the host of a package registry',
  ],
]

describe('tidy', () => {
  it('has nothing to say about a tidy repository', () => expect(sentences({})).to.equal(''))

  for (const [what, changes, words] of faults) {
    it(`finds ${what}`, () => expect(sentences(changes)).to.include(words))
  }

  it('lets lists of tests be as long as they are', () => {
    const tests = 'it("does it", () => {})\n'.repeat(100)
    const spec = `describe('x', () => {\n${tests}})\nexport function suite() {\ndescribe('y', () => {\n${tests}})\n}`
    expect(sentences({ 'packages/rpc/test/rpc.spec.ts': spec })).to.equal('')
  })

  it('lets strings and comments speak of await, console and default', () => {
    const text = "// console.log; await x; export default\nexport const text = 'console.log(await x)'"
    expect(sentences({ 'packages/core/src/other.ts': text })).to.equal('')
  })

  it('writes references that it then accepts, and keeps what tests start beside', () => {
    const workspace = workspaceOf({
      'tsconfig.json': { files: [], references: [] },
      'packages/core/tsconfig.json': { references: [{ path: '../rpc' }] },
      'packages/core/test/tsconfig.json': { extends: 'x', references: [{ path: '../../rpc' }] },
      'packages/core/test/a.spec.ts': "import '@mooncake-ts/core'",
    })
    const changed = fixedReferences(workspace)
    expect([...changed.keys()]).to.have.members([
      'tsconfig.json',
      'packages/core/tsconfig.json',
      'packages/core/test/tsconfig.json',
    ])
    expect(JSON.parse(changed.get('packages/core/test/tsconfig.json')!)).to.deep.equal({
      extends: 'x',
      references: [{ path: '..' }, { path: '../../rpc' }],
    })
    const fixed = new Workspace(new Map([...workspace.files, ...changed]))
    expect(rules.flatMap(({ check }) => check(fixed))).to.deep.equal([])
    expect(fixedReferences(fixed).size).to.equal(0)
  })
})
