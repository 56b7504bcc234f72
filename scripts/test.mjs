// `npm test`: sets up, then runs every test. `npm test -- packages/core -g "Host"`: paths choose tests, the rest goes to mocha.
import { runMocha, summary } from './lib/mocha.mjs'
import { setup } from './lib/setup.mjs'
import { findSpecs, isChosen, needsDevice } from './lib/specs.mjs'
import { main, Refusal } from './lib/steps.mjs'
import { whyNoDevice } from './rdma/devices.mjs'
import { runDeviceTests } from './rdma/tests.mjs'

const LIMIT_MS = 30 * 60_000
const PATH = /^(?:packages|examples|scripts|bench|integration)(?:\/|$)/

await main(async () => {
  await setup()
  const paths = process.argv.slice(2).filter(arg => PATH.test(arg))
  const mochaArgs = process.argv.slice(2).filter(arg => !PATH.test(arg))
  const specs = findSpecs().filter(spec => isChosen(spec, paths))
  if (specs.length === 0) throw new Refusal(`No tests below ${paths.join(', ')}.`)
  const isIntegration = spec => isChosen(spec, ['integration'])
  const deviceSpecs = specs.filter(needsDevice)
  const unitSpecs = specs.filter(spec => !needsDevice(spec) && !isIntegration(spec))
  const integrationSpecs = specs.filter(spec => !needsDevice(spec) && isIntegration(spec))
  // Asked first, because the machine's own tests are among the units.
  const noDevice = deviceSpecs.length > 0 ? await whyNoDevice() : undefined
  const deadline = performance.now() + LIMIT_MS
  // Real clusters come last, in a process of their own: nothing that unit tests left behind disturbs them.
  const runs = [
    () => runGroup('units', unitSpecs),
    () => runGroup('integration', integrationSpecs),
    () => runDevices(deviceSpecs),
  ]
  const total = { passed: 0, failed: 0, skipped: 0 }
  for (const run of runs) {
    for (const [key, count] of Object.entries(await run())) total[key] += count
  }
  console.log(summary(total))
  return total.failed > 0 || total.passed === 0 ? 1 : 0

  async function runGroup(name, group) {
    if (group.length === 0) return {}
    return runMocha(name, [...mochaArgs, ...group], deadline - performance.now())
  }

  async function runDevices(group) {
    if (group.length === 0) return {}
    if (noDevice == null) return runDeviceTests(group, mochaArgs)
    console.log(`\nThe tests that need RDMA devices were left out. ${noDevice}`)
    return { skipped: group.length }
  }
})
