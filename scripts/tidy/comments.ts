/** How a comment line begins, with its indent. What tools read stays on its line. */
const LEAD = /^\s*(?:\/\/|\*) +(?!@ts-|eslint-|prettier-)/
const ONE_LINE_DOC = /^(\s*)\/\*\* (.*) \*\/$/
/** What begins a paragraph of its own, so that nothing is joined to it. */
const OWN_PARAGRAPH = /^(?:@|[-*|#]|\d+\.|`{3})/

/**
 * Folds comments that are wider than `widthMax`, as prettier does with code. Words move to the next line of
 * the same paragraph; code, and comments behind code, stay as they are.
 */
export function foldComments(text: string, widthMax: number): string {
  const lines = text.split('\n').flatMap(line => openDoc(line, widthMax))
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!
    const lead = LEAD.exec(line)?.[0]
    const cut = lead == null || line.length <= widthMax ? 0 : lastGap(line, widthMax)
    if (lead == null || cut <= lead.length) continue
    const rest = line.slice(cut + 1)
    lines[at] = line.slice(0, cut)
    const next = lines[at + 1] ?? ''
    if (continues(next, lead)) lines[at + 1] = `${lead}${rest} ${next.slice(lead.length)}`
    else lines.splice(at + 1, 0, `${lead}${rest}`)
  }
  return lines.join('\n')
}

/** Where to cut: the last space within the width that is not inside of `code`. */
function lastGap(line: string, widthMax: number): number {
  const gap = line.lastIndexOf(' ', widthMax)
  const ticks = line.slice(0, gap).split('`').length - 1
  return ticks % 2 === 0 ? gap : line.lastIndexOf(' ', line.lastIndexOf('`', gap))
}

/** A one-line doc comment that is too wide becomes one of several lines, its tags on lines of their own. */
function openDoc(line: string, widthMax: number): string[] {
  const match = line.length > widthMax ? ONE_LINE_DOC.exec(line) : null
  if (match == null) return [line]
  const [, indent, words] = match
  const paragraphs = words!.split(/ (?=@(?:throws|defaultValue|param|example)\b)/)
  return [`${indent}/**`, ...paragraphs.map(paragraph => `${indent} * ${paragraph}`), `${indent} */`]
}

/** Whether the line is plain text of the same comment, so that words may be put before it. */
function continues(line: string, lead: string): boolean {
  return line.startsWith(lead) && line[lead.length] !== ' ' && !OWN_PARAGRAPH.test(line.slice(lead.length))
}
