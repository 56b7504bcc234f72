import { expect } from 'chai'
import { foldComments } from '../tidy/comments.js'

const fold = (...lines: string[]): string[] => foldComments(lines.join('\n'), 20).split('\n')

describe('foldComments', () => {
  it('moves words to the next line of the paragraph, as far down as needed', () => {
    expect(fold('// one two three four five', '// six seven eight', '// nine')).to.deep.equal([
      '// one two three',
      '// four five six',
      '// seven eight nine',
    ])
  })

  it('opens a doc comment of one line, its tags on lines of their own', () => {
    expect(fold('  /** Gives a thing. @throws ERR_IO */')).to.deep.equal([
      '  /**',
      '   * Gives a thing.',
      '   * @throws ERR_IO',
      '   */',
    ])
  })

  it('joins nothing to a tag, a list or an empty line', () => {
    for (const next of ['* @throws ERR_IO', '* - item', '*', '*/', 'code()']) {
      expect(fold('* one two three fourth', next)).to.deep.equal(['* one two three', '* fourth', next])
    }
  })

  it('does not cut inside of code', () => {
    expect(fold('// call `a ( b )` now')).to.deep.equal(['// call `a ( b )`', '// now'])
    expect(fold('// please call `a ( b )`')).to.deep.equal(['// please call', '// `a ( b )`'])
  })

  it('leaves alone what fits, what is code, and what tools read', () => {
    const lines = [
      '// fits in the line',
      "const text = 'a string that is wide'",
      'call() // behind code it stays as it is',
      '// @ts-expect-error: a reason that is wide',
      '// https://example.org/a/long/address',
    ]
    expect(fold(...lines)).to.deep.equal(lines)
  })

  it('changes nothing the second time', () => {
    const once = fold('/** Words and more words, and a `piece of code`. */', '// one two three four five six')
    expect(fold(...once)).to.deep.equal(once)
  })
})
