import { Command } from 'commander'
import { printTable, writeJson } from './harness/report.js'
import type { Result, Suite } from './harness/result.js'
import { masterSuite } from './suites/master.js'
import { rpcSuite } from './suites/rpc.js'
import { tcpSuite } from './suites/tcp.js'

const SUITES: readonly Suite[] = [tcpSuite, rpcSuite, masterSuite]

async function main(): Promise<void> {
  const command = new Command('bench')
    .description(`Suites: ${SUITES.map(({ name, summary }) => `${name} (${summary})`).join('; ')}`)
    .argument(
      '[suites...]',
      'only these',
      SUITES.map(suite => suite.name),
    )
    .option('--json <file>', 'write the figures there')
    .option('--short', 'tiny sizes, one round: shows that the suites work, measures nothing', false)
    .parse()
  const { json, short } = command.opts<{ json?: string; short: boolean }>()
  const results: Result[] = []
  for (const name of command.processedArgs[0] as string[]) {
    const suite = SUITES.find(known => known.name === name)
    if (suite == null)
      throw new Error(`no suite ${name}; there are ${SUITES.map(known => known.name).join(', ')}`)
    results.push(...(await suite.run({ short, say: line => process.stderr.write(`  ${line}\n`) })))
  }
  printTable(results)
  if (json != null) writeJson(json, results)
}

main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
