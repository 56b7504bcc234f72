/**
 * Mocha's spec reporter, which also keeps the totals in a file: after every test, so that they outlive a crash, and
 * with the name of the test that runs. Names the tests that passed only when they were repeated, with what they said
 * the first time: such a test, or what it tests, is to be mended. Ends a process that something keeps alive after its
 * tests.
 */
import { writeFileSync } from 'node:fs'
import Mocha from 'mocha'

const GRACE_MS = 10_000

export default class TotalsReporter extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    const path = options.reporterOptions.totals
    const totals = { passed: 0, failed: 0, skipped: 0, running: '', ended: false }
    const save = change => writeFileSync(path, JSON.stringify(Object.assign(totals, change)))
    save({})
    runner.on('test', test => save({ running: test.fullTitle() }))
    runner.on('hook', hook => save({ running: hook.fullTitle() }))
    runner.on('pass', () => save({ passed: totals.passed + 1, running: '' }))
    runner.on('fail', () => save({ failed: totals.failed + 1, running: '' }))
    runner.on('pending', () => save({ skipped: totals.skipped + 1 }))
    const repeated = new Map()
    runner.on('retry', (test, error) => repeated.set(test.fullTitle(), error.message.split('\n')[0]))
    runner.on('fail', test => repeated.delete(test.fullTitle()))
    runner.once('end', () => {
      for (const [title, message] of repeated) console.log(`Passed only when repeated: ${title}: ${message}`)
      save({ running: '', ended: true })
      setTimeout(() => {
        const what = process.getActiveResourcesInfo().join(', ')
        console.error(
          `The tests ended ${GRACE_MS / 1000} s ago, but something keeps the process alive: ${what}`,
        )
        save({ failed: totals.failed + 1 })
        process.exit(1)
      }, GRACE_MS).unref()
    })
  }
}
