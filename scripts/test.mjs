// `npm test`: sets up, then runs every test. `npm test -- packages/core -g "Host"`: paths choose tests, the rest goes to mocha.
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setup } from './lib/setup.mjs'
import { findSpecs } from './lib/specs.mjs'
import { main, Refusal, root, runNode } from './lib/steps.mjs'

const LIMIT_MS = 30 * 60_000
const PATH = /^(?:packages|examples|scripts|bench|integration)(?:\/|$)/

await main(async () => {
  await setup()
  const paths = process.argv.slice(2).filter(arg => PATH.test(arg))
  const mochaArgs = process.argv.slice(2).filter(arg => !PATH.test(arg))
  const specs = findSpecs().filter(spec => paths.length === 0 || paths.some(path => isBelow(spec, path)))
  if (specs.length === 0) throw new Refusal(`No tests below ${paths.join(', ')}.`)
  // Real clusters come last, in a process of their own: nothing that unit tests left behind disturbs them.
  const groups = [
    specs.filter(spec => !isBelow(spec, 'integration')),
    specs.filter(spec => isBelow(spec, 'integration')),
  ]
  const deadline = performance.now() + LIMIT_MS
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const [index, group] of groups.entries()) {
    if (group.length === 0) continue
    const result = await runMocha(group, mochaArgs, index, deadline - performance.now())
    for (const key of Object.keys(total)) total[key] += result[key]
  }
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
  return total.failed > 0 || total.passed === 0 ? 1 : 0
})

function isBelow(spec, path) {
  return spec.startsWith(`${path.replace(/\/$/, '')}/`) || spec === path
}

async function runMocha(specs, mochaArgs, index, limitMs) {
  const totalsPath = join(root, '.cache', 'test', `totals-${index}.json`)
  mkdirSync(join(root, '.cache', 'test'), { recursive: true })
  rmSync(totalsPath, { force: true })
  const reporter = [
    '--reporter',
    join(root, 'scripts/lib/reporter.mjs'),
    '--reporter-option',
    `totals=${totalsPath}`,
  ]
  const mocha = join(root, 'node_modules', 'mocha', 'bin', 'mocha.js')
  const code = await runNode(
    ['--enable-source-maps', mocha, '--forbid-only', ...reporter, ...mochaArgs, ...specs],
    { limitMs },
  )
  const totals = readTotals(totalsPath)
  if (totals.ended && (code === 0 || totals.failed > 0)) return totals
  const where = totals.running === '' ? 'outside of any test' : `in "${totals.running}"`
  const what = code === 124 ? `were ended after ${LIMIT_MS / 60_000} min` : `ended with exit code ${code}`
  console.error(`The tests ${what}, ${where}. That counts as one failure.`)
  return { ...totals, failed: totals.failed + 1 }
}

function readTotals(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { passed: 0, failed: 0, skipped: 0, running: '', ended: false }
  }
}
