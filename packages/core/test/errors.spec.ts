import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import {
  asMooncakeError,
  errorCode,
  ERRORS,
  hasCode,
  isErrorCode,
  isRetryable,
  MooncakeError,
  type ErrorCode,
  type ErrorDefinition,
} from '@mooncake-ts/core'

const definitions = Object.entries(ERRORS) as Array<[ErrorCode, ErrorDefinition]>
const docs = readFileSync(new URL('../../../docs/ERRORS.md', import.meta.url), 'utf8')
const rows = [...docs.matchAll(/^\| \[`(ERR_\w+)`\]\(#(\w+)\) \| (\S*) \| (yes|no) \| (.+) \|$/gm)]
const paragraphs = [...docs.matchAll(/^### `(ERR_\w+)`$/gm)].map(match => match[1])

describe('the error registry and docs/ERRORS.md', () => {
  it('every code is in the table, with its number, its retryability and its summary', () => {
    const table = rows.map(([, code, , number, retryable, summary]) => ({ code, number, retryable, summary }))
    const wanted = definitions.map(([code, definition]) => ({
      code,
      number: definition.number == null ? '' : String(definition.number),
      retryable: definition.retryable ? 'yes' : 'no',
      summary: definition.summary,
    }))
    expect(table).to.have.deep.members(wanted)
  })

  it('every row of the table leads to its paragraph', () => {
    for (const [, code, anchor] of rows) expect(anchor).to.equal(code!.toLowerCase())
  })

  it('every code has a paragraph, which says what the registry says', () => {
    for (const [code, definition] of definitions) {
      expect(paragraphs).to.include(code)
      expect(docs).to.include(definition.doc)
    }
  })

  it('every documented code exists, once', () => {
    expect(paragraphs).to.have.members(definitions.map(([code]) => code))
    expect(rows.map(row => row[1])).to.have.members(definitions.map(([code]) => code))
  })

  it('no two codes have the same number, and every number is negative as in the reference system', () => {
    const numbers = definitions.flatMap(([, definition]) => definition.number ?? [])
    expect(new Set(numbers).size).to.equal(numbers.length)
    for (const number of numbers) expect(number).to.be.below(0)
  })

  it('texts are sentences: a summary without a full stop, a paragraph with one', () => {
    for (const [code, { summary, doc }] of definitions) {
      expect(summary, code).to.match(/^[A-Z].*[^.]$/)
      expect(doc, code).to.match(/^[A-Z`].*\.$/s)
      expect(summary.includes('|'), code).to.equal(false)
    }
  })
})

describe('MooncakeError', () => {
  it('knows its code, number, retryability and cause', () => {
    const cause = new Error('below')
    const error = new MooncakeError('ERR_RPC_TIMEOUT', 'Nobody answered', { cause })
    expect(error).to.include({
      name: 'MooncakeError',
      code: 'ERR_RPC_TIMEOUT',
      number: -901,
      retryable: true,
    })
    expect(error.message).to.equal('Nobody answered')
    expect(error.cause).to.equal(cause)
    expect(new MooncakeError('ERR_PROTOCOL').number).to.equal(undefined)
  })

  it('says the summary where nothing better is said', () => {
    expect(new MooncakeError('ERR_OBJECT_NOT_FOUND').message).to.equal('No such object')
  })
})

describe('codes of whatever was thrown', () => {
  const foreign = Object.assign(new Error('from another copy'), { code: 'ERR_OVERLOADED' })
  const system = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })

  it('are found by code, not by class', () => {
    expect(errorCode(foreign)).to.equal('ERR_OVERLOADED')
    expect(hasCode(foreign, 'ERR_OVERLOADED')).to.equal(true)
    expect(isRetryable(foreign)).to.equal(true)
  })

  it('are ERR_INTERNAL for what has none of ours', () => {
    for (const thrown of [system, new Error('plain'), 'text', 7, null, undefined, { code: 'toString' }]) {
      expect(errorCode(thrown)).to.equal('ERR_INTERNAL')
      expect(isRetryable(thrown)).to.equal(false)
      expect(hasCode(thrown, 'ERR_INTERNAL')).to.equal(false)
    }
  })

  it('are not taken for codes when they only look like it', () => {
    expect(isErrorCode('ERR_IO')).to.equal(true)
    for (const text of ['ERR_NOPE', 'toString', '__proto__', 7, undefined])
      expect(isErrorCode(text)).to.equal(false)
  })

  it('are given to what has none, and the cause is kept', () => {
    const wrapped = asMooncakeError(system, 'ERR_RPC_FAIL')
    expect(wrapped).to.include({ code: 'ERR_RPC_FAIL', message: 'refused' })
    expect(wrapped.cause).to.equal(system)
    expect(asMooncakeError('text')).to.include({ code: 'ERR_INTERNAL', message: 'text' })
    expect(asMooncakeError(foreign, 'ERR_IO').code).to.equal('ERR_OVERLOADED')
    const own = new MooncakeError('ERR_IO')
    expect(asMooncakeError(own, 'ERR_INTERNAL')).to.equal(own)
  })
})
