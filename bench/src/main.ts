import { Command, InvalidArgumentError } from 'commander'
import { GIB, MIB } from '@mooncake-ts/core'
import { describeRun, printTable, writeJson, type Report } from './harness/report.js'
import { SuiteUnavailable, type Suite, type SuiteContext } from './harness/suite.js'
import { writeHtml } from './html/page.js'
import { Rivals } from './rivals/rivals.js'
import { SUITES } from './suites/index.js'

const ALL = 'all'
const ROUNDS = 3
const DURATION_MS = 300
const WARM_UP_MS = 1000
const SHORT_DURATION_MS = 50
const SHORT_WARM_UP_MS = 20
/** Data that no cache holds. */
const POOL_BYTES = 512 * MIB
/** 32 objects of 32 MiB. */
const BATCH_POOL_BYTES = GIB
const SHORT_POOL_BYTES = 64 * MIB

interface Options {
  readonly json?: string
  readonly html?: string
  readonly rounds: number
  readonly duration: number
  readonly warmUp: number
  readonly trace?: string
  readonly installRivals: boolean
  readonly short: boolean
}

async function main(): Promise<void> {
  const command = new Command('bench')
    .description(`Suites: ${SUITES.map(({ name, summary }) => `${name} (${summary})`).join('; ')}`)
    .argument('[suites...]', 'only these', [ALL])
    .option('--json <file>', 'write the figures there')
    .option('--html <file>', 'write a report with charts there')
    .option('--rounds <count>', 'how often each contender of a figure is measured', wholeNumber, ROUNDS)
    .option('--duration <ms>', 'how long one contender is measured in one round', wholeNumber, DURATION_MS)
    .option('--warm-up <ms>', 'how long each contender of a figure runs before', wholeNumber, WARM_UP_MS)
    .option('--trace <file>', 'requests for the suite replay, as JSON lines; default: generated ones')
    .option('--install-rivals', "fetch absent rivals into the user's cache directory", false)
    .option('--short', 'tiny sizes, one round: shows that the suites work, measures nothing', false)
    .parse()
  const options = command.opts<Options>()
  const suites = chosen(command.processedArgs[0] as string[])
  // Children end by `exit` events of this process, which a signal alone would skip.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const report = await runSuites(suites, options)
  printTable(report)
  if (options.json != null) writeJson(options.json, report)
  if (options.html != null) writeHtml(options.html, report)
}

async function runSuites(suites: readonly Suite[], options: Options): Promise<Report> {
  const say = (line: string): void => void process.stderr.write(`  ${line}\n`)
  const { short, trace } = options
  const poolBytes = short ? SHORT_POOL_BYTES : POOL_BYTES
  const batchPoolBytes = short ? SHORT_POOL_BYTES : BATCH_POOL_BYTES
  await using rivals = new Rivals({ install: options.installRivals, poolBytes, batchPoolBytes, say })
  const context: SuiteContext = {
    short,
    rounds: short ? 1 : options.rounds,
    durationMs: short ? SHORT_DURATION_MS : options.duration,
    warmUpMs: short ? SHORT_WARM_UP_MS : options.warmUp,
    ...(trace != null && { traceFile: trace }),
    poolBytes,
    batchPoolBytes,
    rivals,
    say,
  }
  const results = []
  const unavailable: Record<string, string> = {}
  for (const suite of suites) {
    try {
      results.push(...(await suite.run(context)))
    } catch (error) {
      if (!(error instanceof SuiteUnavailable)) throw error
      unavailable[suite.name] = error.message
    }
  }
  const absent = { ...Object.fromEntries(rivals.absences), ...unavailable }
  const { rounds, durationMs, warmUpMs } = context
  return { ...describeRun(), rounds, durationMs, warmUpMs, absent, results }
}

function chosen(names: readonly string[]): readonly Suite[] {
  if (names.includes(ALL)) return SUITES
  return names.map(name => {
    const suite = SUITES.find(known => known.name === name)
    if (suite != null) return suite
    throw new Error(`no suite ${name}; there are ${SUITES.map(known => known.name).join(', ')}`)
  })
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new InvalidArgumentError('It is a whole number above zero.')
}

main().catch((error: unknown) => {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
})
