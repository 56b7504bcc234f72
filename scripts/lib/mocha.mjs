/** Runs mocha in a process of its own, and counts. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root, runNode } from './steps.mjs'

/** @typedef {{ passed: number, failed: number, skipped: number }} Totals */

/**
 * @param {string} totalsPath where the totals are kept while the tests run
 * @param {readonly string[]} args for mocha: specs and options
 * @returns {string[]} what node has to be called with
 */
export function mochaCommand(totalsPath, args) {
  const mocha = join(root, 'node_modules', 'mocha', 'bin', 'mocha.js')
  const reporter = ['--reporter', join(root, 'scripts', 'lib', 'reporter.mjs')]
  return [
    '--enable-source-maps',
    // Limits of time are real ones here, and the machine may be busy: a test may be repeated once, and is named then.
    ...[mocha, '--forbid-only', '--retries', '1', ...reporter],
    ...['--reporter-option', `totals=${totalsPath}`],
    ...args,
  ]
}

/**
 * @param {string} name of the run, unique in this process
 * @param {readonly string[]} args for mocha
 * @param {number} limitMs
 * @returns {Promise<Totals>}
 */
export async function runMocha(name, args, limitMs) {
  const totalsPath = join(root, '.cache', 'test', `totals-${name}.json`)
  mkdirSync(dirname(totalsPath), { recursive: true })
  rmSync(totalsPath, { force: true })
  const code = await runNode(mochaCommand(totalsPath, args), { limitMs })
  const what =
    code === 124 ? `were ended after ${Math.round(limitMs / 60_000)} min` : `ended with exit code ${code}`
  return readTotals(totalsPath, code, what)
}

/**
 * @param {string} path
 * @param {number} code mocha's exit code
 * @param {string} what how the tests ended, for where they ended badly: that counts as one failure
 * @returns {Totals}
 */
export function readTotals(path, code, what) {
  const { running, ended, ...totals } = parseTotals(path)
  if (ended && (code === 0 || totals.failed > 0)) return totals
  const where = running === '' ? 'outside of any test' : `in "${running}"`
  console.error(`The tests ${what}, ${where}. That counts as one failure.`)
  return { ...totals, failed: totals.failed + 1 }
}

/**
 * @param {Totals} total
 * @returns {string} the last line of a run
 */
export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

function parseTotals(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { passed: 0, failed: 0, skipped: 0, running: '', ended: false }
  }
}
