/**
 * The style of the house, as far as neither compiler nor linter can see it: `npm run tidy`. It fails with
 * sentences. `npm run tidy:fix` mends what a program can: the references of every tsconfig.json, and comments
 * that are too wide.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRules } from './tidy/packages.js'
import { foldComments } from './tidy/comments.js'
import { fixedReferences } from './tidy/references.js'
import { sourceRules } from './tidy/sources.js'
import { COMMENT_CHARACTERS, notes, textRules } from './tidy/text.js'
import { readWorkspace } from './tidy/workspace.js'

const root = process.cwd()
const workspace = readWorkspace(root)

if (process.argv.includes('--fix')) {
  const changed = fixedReferences(workspace)
  for (const path of workspace.code().filter(path => path.endsWith('.ts'))) {
    const text = workspace.files.get(path)!
    const folded = foldComments(text, COMMENT_CHARACTERS)
    if (folded !== text) changed.set(path, folded)
  }
  for (const [path, text] of changed) {
    writeFileSync(join(root, path), text)
    console.log(`${path}: mended`)
  }
} else {
  const sentences = [...packageRules, ...sourceRules, ...textRules].flatMap(rule => rule.check(workspace))
  for (const note of notes(workspace)) console.log(`note: ${note}`)
  for (const sentence of sentences) console.error(sentence)
  console.log(sentences.length === 0 ? 'tidy' : `${sentences.length} things are not tidy`)
  process.exitCode = sentences.length === 0 ? 0 : 1
}
