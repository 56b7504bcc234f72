import type { Rule } from './rule.js'
import type { Workspace } from './workspace.js'

export const FILE_LINES_MAX = 600
const FILE_LINES_NOTED = 400
const LINE_CHARACTERS_MAX = 120
/** Where comments are folded: the width of the code beside them. */
export const COMMENT_CHARACTERS = 110

const PROGRAM = /\.(?:ts|mts|mjs|js|cc|cpp|h|hpp|gyp|sh)$/
// Written so that they do not find themselves.
const PLACEHOLDER = /\b(?:FIX[M]E|TO[D]O|XX[X])\b/
const MACHINE_PATH = /(?<![\w.])\/(?:home|root|Users|work|farm)\/[\w.-]/
const REGISTRY_HOST = /https?:\/\/[\w.-]*(?:registry|npmjs|pypi|debian)[\w.-]*/

export const textRules: readonly Rule[] = [
  {
    title: `no file has more than ${FILE_LINES_MAX} lines`,
    check: workspace => longFiles(workspace, FILE_LINES_MAX),
  },
  {
    title: `no comment or statement is wider than ${LINE_CHARACTERS_MAX} characters`,
    // A string is not folded: how it reads matters more than how wide it is.
    check: everyLine(/\.(?:ts|mjs)$/, line =>
      line.length > LINE_CHARACTERS_MAX && !/['"`]|https?:/.test(line)
        ? `is ${line.length} characters wide`
        : undefined,
    ),
  },
  {
    title: 'nothing is left for later',
    check: everyLine(PROGRAM, line => found(PLACEHOLDER, line, 'is left for later; do it, or open an issue')),
  },
  {
    title: 'no paths of one machine',
    check: everyLine(/./, line => found(MACHINE_PATH, line, 'is a path of one machine')),
  },
  {
    title: 'no hosts of package registries',
    check: everyLine(/./, line => found(REGISTRY_HOST, line, 'is the host of a package registry')),
  },
]

/** Sources that are worth a second look, but no fault. */
export function notes(workspace: Workspace): string[] {
  return longFiles(workspace, FILE_LINES_NOTED).filter(sentence => sentence.includes('/src/'))
}

function longFiles(workspace: Workspace, linesMax: number): string[] {
  return [...workspace.files].flatMap(([path, text]) => {
    const lines = text.split('\n').length - 1
    return PROGRAM.test(path) && lines > linesMax ? [`${path}: has ${lines} lines; is it one concept?`] : []
  })
}

function everyLine(paths: RegExp, fault: (line: string) => string | undefined): Rule['check'] {
  return workspace =>
    [...workspace.files].flatMap(([path, text]) => {
      if (!paths.test(path)) return []
      return text.split('\n').flatMap((line, index) => {
        const sentence = fault(line)
        return sentence == null ? [] : [`${path}:${index + 1}: ${sentence}.`]
      })
    })
}

function found(pattern: RegExp, line: string, what: string): string | undefined {
  const match = pattern.exec(line)
  return match == null ? undefined : `"${match[0]}" ${what}`
}
