/** `npm run bench -- rdma` on a host without RDMA: the suite runs in the virtual machine, beside perftest in the same boot. */
import { copyFileSync, existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { hostDevices } from './devices.mjs'
import { quote, runInMachine } from './machine.mjs'

/** On a quiet machine it takes a third of this. */
const LIMIT_S = 1200
const OUTPUTS = ['json', 'html']

/** True where `rdma` is the only suite that was asked for, and this host cannot run it. */
export function needsMachine(args) {
  return args.includes('rdma') && hostDevices().length === 0
}

/**
 * @param {readonly string[]} args of the bench
 * @returns {Promise<number>} its exit code
 */
export function benchInMachine(args) {
  const wanted = new Map()
  const inside = args
    .flatMap(arg => arg.split(/(?<=^--\w+)=/))
    .map((arg, index, all) => {
      const name = OUTPUTS.find(output => all[index - 1] === `--${output}`)
      if (name == null) return arg
      wanted.set(name, resolve(arg))
      return `/run/vm/out/${name}`
    })
  const command = ['exec', 'node', 'bench/dist/main.js', ...inside].map(quote).join(' ')
  return runInMachine(command, { limitS: LIMIT_S, onOut: fetchOutputs })

  function fetchOutputs(folder) {
    for (const [name, path] of wanted) {
      if (existsSync(join(folder, name))) copyFileSync(join(folder, name), path)
    }
  }
}
