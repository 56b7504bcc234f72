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

  let output = ''

  function totalsOf(spec: string, ...args: readonly string[]): object {
    const [specPath, totalsPath] = [join(folder, 'x.spec.mjs'), join(folder, 'totals.json')]
    writeFileSync(specPath, spec)
    const reporter = [
      '--reporter',
      join(scripts, 'lib/reporter.mjs'),
      '--reporter-option',
      `totals=${totalsPath}`,
    ]
    const command = [mocha, '--no-config', ...args, ...reporter, specPath]
    output = spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' }).stdout
    return JSON.parse(readFileSync(totalsPath, 'utf8')) as object
  }

  it('counts what passed, failed and was skipped', () => {
    const spec = `it('a', () => {}); it('b', () => { throw new Error('x') }); it('c'); it.skip('d', () => {})`
    expect(totalsOf(spec)).to.deep.equal({ passed: 1, failed: 1, skipped: 2, running: '', ended: true })
  })

  it('names a test that passed only when it was repeated', () => {
    const spec = `let runs = 0
      it('shaky', () => { if (++runs === 1) throw new Error('too slow') })
      it('broken', () => { throw new Error('wrong') })`
    expect(totalsOf(spec, '--retries', '1')).to.include({ passed: 1, failed: 1, ended: true })
    expect(output).to.include('Passed only when repeated: shaky: too slow')
    expect(output).not.to.include('repeated: broken')
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
