/** `npm run docs:errors` writes docs/ERRORS.md from the registry of core. */
import { readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { ERRORS, type ErrorDefinition } from '@mooncake-ts/core'

const HEAD = `# Errors

Every error that leaves a public API is a \`MooncakeError\` with one of these codes. Match on \`error.code\`, never on the class
or the message: codes are stable between majors, wording is not. *Number* is that of the reference system's \`ErrorCode\`, where it
has one for the same condition. Some codes are reserved for its sake: nothing throws them, and they say so. *Retry* says
whether the same call may succeed later.

This page is made by \`npm run docs:errors\` from \`packages/core/src/errors/registry.ts\`.
`

/** The whole page. Headings are the codes, so that a link to \`#err_io\` works wherever Markdown is shown. */
export function renderErrorsDoc(errors: Readonly<Record<string, ErrorDefinition>>): string {
  const entries = Object.entries(errors)
  const rows = entries.map(
    ([code, { number, retryable, summary }]) =>
      `| [\`${code}\`](#${code.toLowerCase()}) | ${number ?? ''} | ${retryable ? 'yes' : 'no'} | ${summary} |`,
  )
  const paragraphs = entries.map(([code, { summary, doc }]) => `### \`${code}\`\n\n**${summary}.** ${doc}\n`)
  const table = ['| Code | Number | Retry | What happened |', '|---|---|---|---|', ...rows].join('\n')
  return [HEAD, `${table}\n`, '## What they mean, and what to do\n', ...paragraphs].join('\n')
}

/** What this page should be, and what it is. */
export function errorsDoc(root: string): {
  readonly path: string
  readonly wanted: string
  readonly found: string
} {
  const path = `${root}/docs/ERRORS.md`
  return { path, wanted: renderErrorsDoc(ERRORS), found: readIfThere(path) }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { path, wanted, found } = errorsDoc(process.cwd())
  writeFileSync(path, wanted)
  console.log(wanted === found ? `${path} was fresh` : `${path} written`)
}
