/** The tests that need RDMA devices, on those of the host or in a virtual machine. */
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { mochaCommand, readTotals, runMocha } from '../lib/mocha.mjs'
import { Refusal, root } from '../lib/steps.mjs'
import { hostDevices } from './devices.mjs'
import { quote, runInMachine } from './machine.mjs'

/** On a quiet machine it takes a third of this; on a busy one everything emulated gets slower still. */
const LIMIT_S = 900

/**
 * @param {readonly string[]} specs paths from the root
 * @param {readonly string[]} mochaArgs
 * @param {{ limitS?: number, vm?: boolean }} [options] `vm` takes the virtual machine also where the host has devices
 * @returns {Promise<import('../lib/mocha.mjs').Totals>}
 */
export async function runDeviceTests(specs, mochaArgs, { limitS = LIMIT_S, vm = false } = {}) {
  const devices = vm ? [] : hostDevices()
  if (devices.length > 0) {
    console.log(`Tests on ${devices.join(', ')} of this host:`)
    return runMocha('device', [...mochaArgs, ...specs], limitS * 1000)
  }
  console.log('Tests in a virtual machine with two Soft-RoCE devices:')
  const totalsPath = join(root, '.cache', 'test', 'totals-device.json')
  rmSync(totalsPath, { force: true })
  const args = mochaCommand('/run/vm/out/totals.json', [...mochaArgs, ...specs])
  const command = ['exec', 'node', ...args].map(quote).join(' ')
  let code = 1
  let what
  try {
    code = await runInMachine(command, { limitS, onOut: keepTotals })
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    console.error(error.message)
    what = 'ended with their machine'
  }
  return readTotals(totalsPath, code, what ?? `ended with exit code ${code}`)

  function keepTotals(folder) {
    const path = join(folder, 'totals.json')
    if (!existsSync(path)) return
    mkdirSync(dirname(totalsPath), { recursive: true })
    copyFileSync(path, totalsPath)
  }
}
