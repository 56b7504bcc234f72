// `npm run test:rdma`: the tests that need RDMA devices, on those of the host, or else in a virtual machine with Soft-RoCE.
// `npm run test:rdma -- -g "two devices"` chooses tests; `npm run test:rdma -- --cmd 'ibv_devinfo'` runs any command there.
import { parseArgs } from 'node:util'
import { summary } from './lib/mocha.mjs'
import { setup } from './lib/setup.mjs'
import { findSpecs, isChosen, needsDevice } from './lib/specs.mjs'
import { main, Refusal } from './lib/steps.mjs'
import { runInMachine } from './rdma/machine.mjs'
import { runDeviceTests } from './rdma/tests.mjs'

await main(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      append: { type: 'string' },
      cmd: { type: 'string' },
      grep: { type: 'string', short: 'g' },
      'limit-s': { type: 'string', default: '600' },
      vm: { type: 'boolean', default: false },
    },
  })
  const limitS = Number(values['limit-s'])
  if (!Number.isInteger(limitS) || limitS < 1) throw new Refusal('--limit-s takes a whole number of seconds.')
  if (values.cmd != null) return runInMachine(values.cmd, { limitS, append: values.append })
  await setup()
  const specs = findSpecs().filter(spec => needsDevice(spec) && isChosen(spec, positionals))
  if (specs.length === 0)
    throw new Refusal('No tests that need a device: those are in folders named "device".')
  const grep = values.grep == null ? [] : ['--grep', values.grep]
  const total = await runDeviceTests(specs, grep, { limitS, vm: values.vm })
  console.log(summary(total))
  return total.failed > 0 || total.passed === 0 ? 1 : 0
})
