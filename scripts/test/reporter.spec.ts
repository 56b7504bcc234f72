import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const scripts = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')

/** What `npm test` knows of a group of tests, however it ended. */
describe('the reporter of npm test', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mooncake-reporter-'))
  after(() => rmSync(folder, { recursive: true, force: true }))

  function totalsOf(spec: string): object {
    const [specPath, totalsPath] = [join(folder, 'x.spec.mjs'), join(folder, 'totals.json')]
    writeFileSync(specPath, spec)
    const reporter = [
      '--reporter',
      join(scripts, 'lib/reporter.mjs'),
      '--reporter-option',
      `totals=${totalsPath}`,
    ]
    spawnSync(process.execPath, [mocha, '--no-config', ...reporter, specPath], { cwd: folder })
    return JSON.parse(readFileSync(totalsPath, 'utf8')) as object
  }

  it('counts what passed, failed and was skipped', () => {
    const spec = `it('a', () => {}); it('b', () => { throw new Error('x') }); it('c'); it.skip('d', () => {})`
    expect(totalsOf(spec)).to.deep.equal({ passed: 1, failed: 1, skipped: 2, running: '', ended: true })
  })

  it('counts a failed hook', () => {
    const spec = `before(() => { throw new Error('x') }); it('a', () => {})`
    expect(totalsOf(spec)).to.include({ passed: 0, failed: 1, ended: true })
  })

  it('still has the totals, and the name of the test, when the process dies', () => {
    const spec = `it('a', () => {}); describe('deadly', () => { it('b', () => process.kill(process.pid, 'SIGKILL')) })`
    expect(totalsOf(spec)).to.deep.equal({
      passed: 1,
      failed: 0,
      skipped: 0,
      running: 'deadly b',
      ended: false,
    })
  })
})
