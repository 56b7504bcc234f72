import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** A mutant, and the promise that the suite must catch it by. */
const CAUGHT: ReadonlyArray<readonly [mutant: string, title: string]> = [
  ['ends early on abort', 'ends a read that is aborted at once at rest, with the reason of the signal'],
  ['posts though aborted', 'posts nothing when the signal has aborted before, and ends with its reason'],
  ['posts before it is subscribed to', 'posts nothing until somebody subscribes'],
  ['fails the batch for one operation', 'an operation that fails leaves the others of its batch alone'],
  ['completes one operation twice', 'completes every read of a batch once, in any order, with its own bytes'],
  ['does not wait in revoke', '`revoke`: settles when no write of a peer touches the range any more'],
  ['does not revoke', 'refuses peers after `revoke`, which is idempotent'],
  ['does not wait in stop', 'is at rest when it has stopped, and every batch ends'],
  [
    'counts offsets from the start of the region',
    'reads remote bytes into local memory, and touches nothing else: 63',
  ],
  ['lets peers read and write always', 'refuses a write where the window allows only the other direction'],
  ['ignores its capacity', 'never sets aside more than its capacity'],
  ['never gets space back', 'has the room again that was freed, when `free` has settled'],
  ['reads past the end', 'refuses, as a completion, to read past the end of an object'],
  [
    'writes more than there is room for',
    'refuses, as a completion, to write more than an allocation has room for',
  ],
  ['always reads from the start', '`partialRead`: reads from any byte to any byte'],
  [
    'recovers what was not committed',
    '`persistence`: what was written and not committed is gone, and takes no room',
  ],
  ['forgets the generation', '`persistence`: gives back after a restart exactly what was committed'],
  ['takes keys for file names', '`persistence`: gives back after a restart exactly what was committed'],
  [
    'gives recovered objects no place of their own',
    '`persistence`: recovered objects keep their place from new ones',
  ],
  ['takes a piece back twice', 'rejects a piece that was freed before, also when its place is taken again'],
  ['gives overlapping pieces', 'fills up with pieces that lie inside, and do not overlap'],
  ['overestimates its largest gap', 'knows the largest request that would succeed, at all times'],
  ['rounds lengths off', 'throws a RangeError for a length that is not a positive safe integer'],
  ['looks at every piece', 'takes the same time however many pieces there are'],
  ['evicts what is held', 'never gives up what is held, and gives it up when it is released'],
  ['loses what was released', 'never gives up what is held, and gives it up when it is released'],
  [
    'holds for ever what is removed while held',
    'forgets what is removed, held or not, and takes its slot for another object',
  ],
  ['takes the victim out when asked', 'gives the same answer when it is asked twice'],
  ['looks at every object', 'takes the same time however many objects there are'],
]

interface Report {
  readonly tests: ReadonlyArray<{ readonly fullTitle: string; readonly title: string }>
  readonly failures: Report['tests']
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** Runs only the pairs of the table, against the mutants. */
function runMutants(): Promise<Report> {
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js')
  const mutants = fileURLToPath(new URL('fixtures/mutants.js', import.meta.url))
  const grep = CAUGHT.map(([mutant, title]) => `^${escaped(mutant)} keeps .*${escaped(title)}$`).join('|')
  const args = [
    mocha,
    '--no-config',
    '--reporter',
    'json',
    '--timeout',
    '3000',
    '--exit',
    '--grep',
    grep,
    mutants,
  ]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { maxBuffer: 2 ** 26, timeout: 50_000 }, (_failed, stdout, stderr) => {
      const begin = stdout.indexOf('{')
      if (begin < 0) reject(new Error(`Mocha gave no report: ${stderr}`))
      else resolve(JSON.parse(stdout.slice(begin)) as Report)
    })
  })
}

describe('The compliance suites catch a plugin that', function () {
  this.timeout(60_000)
  let report: Report
  before(async () => {
    report = await runMutants()
  })

  for (const [mutant, title] of CAUGHT) {
    it(mutant, () => {
      const isIt = (test: Report['tests'][0]): boolean =>
        test.fullTitle.startsWith(`${mutant} keeps`) && test.title === title
      expect(report.tests.filter(isIt), 'tests of that title').to.have.lengthOf(1)
      expect(report.failures.filter(isIt), 'of these failed').to.have.lengthOf(1)
    })
  }
})
